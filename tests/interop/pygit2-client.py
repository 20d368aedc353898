"""libgit2 as a client, through pygit2. Usage: push DIR URL REFSPEC... | clone DIR URL | fetch DIR"""

import os
import sys
import pygit2


class Callbacks(pygit2.RemoteCallbacks):
    def credentials(self, url, username_from_url, allowed_types):
        key = os.environ["TEST_SSH_KEY"]
        return pygit2.Keypair(username_from_url, key + ".pub", key, "")

    def certificate_check(self, certificate, valid, host):
        # The host key of a test's own server on the loopback.
        return host == b"127.0.0.1" or host == "127.0.0.1"

    def push_update_reference(self, refname, message):
        if message is not None:
            raise RuntimeError(f"{refname}: {message}")


verb, folder, *rest = sys.argv[1:]
if verb == "push":
    url, *specs = rest
    repository = pygit2.Repository(folder)
    remote = repository.remotes.create(f"push-{os.getpid()}", url)
    try:
        remote.push(specs, callbacks=Callbacks())
    finally:
        repository.remotes.delete(remote.name)
elif verb == "clone":
    pygit2.clone_repository(rest[0], folder, callbacks=Callbacks())
elif verb == "fetch":
    pygit2.Repository(folder).remotes["origin"].fetch(callbacks=Callbacks())
else:
    sys.exit("unknown verb")
