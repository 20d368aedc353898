"""Dulwich as a client. Usage: push DIR URL REFSPEC... | clone DIR URL [DEPTH] | fetch DIR"""

import sys
from dulwich import porcelain

verb, folder, *rest = sys.argv[1:]
out = sys.stderr.buffer
if verb == "push":
    url, *specs = rest
    porcelain.push(folder, url, refspecs=[spec.encode() for spec in specs], outstream=out, errstream=out)
elif verb == "clone":
    depth = int(rest[1]) if len(rest) > 1 else None
    repository = porcelain.clone(rest[0], folder, errstream=out, depth=depth)
    # The user and password of the address are not kept otherwise.
    config = repository.get_config()
    config.set((b"remote", b"origin"), b"url", rest[0].encode())
    config.write_to_path()
    repository.close()
elif verb == "fetch":
    porcelain.fetch(folder, "origin", outstream=sys.stderr, errstream=out)
else:
    sys.exit("unknown verb")
