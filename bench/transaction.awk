# Judges one transaction for pre-receive.sh. Input: `git cat-file --batch` of the commits (new ledger and kv-index, old ledger and
# kv-index, policy), `git diff-tree -r` of both steps, and `git cat-file --batch-command`: sizes of values, "- missing", and the other files.

function refuse(why) {
  print "refused: " why > "/dev/stderr"
  failed = 1
  exit 1
}

# Takes the object whose head is the current line: its text into text[id], without its last line feed.
function take(id, size,   line, body, left) {
  left = size + 1
  body = ""
  while (left > 0) {
    if ((getline line) <= 0) refuse("an object ends early")
    body = body line
    left -= length(line) + 1
    if (left > 0) body = body "\n"
  }
  text[id] = body
}

# What the commit says: tree, the other headers in `heads` (one letter each), and its last paragraph.
function read_commit(id,   lines, count, i, line, head) {
  count = split(text[id], lines, "\n")
  if (lines[count] != "") refuse(id " has no line feed at its end")
  heads = ""
  for (i = 1; i <= count && lines[i] != ""; i++) {
    line = lines[i]
    head = substr(line, 1, index(line, " ") - 1)
    if (head == "tree") tree[id] = substr(line, 6)
    if (head == "parent") parent[id] = parent[id] substr(line, 8)
    if (head != "") heads = heads substr(head, 1, 1)
  }
  trailers[id] = ""
  for (; i <= count; i++) {
    if (lines[i] != "") trailers[id] = trailers[id] lines[i] "\n"
    else if (i < count) trailers[id] = ""
  }
}

function trailer(id, name,   block, at) {
  block = "\n" trailers[id]
  at = index(block, "\n" name ": ")
  if (at == 0) return ""
  block = substr(block, at + length(name) + 3)
  return substr(block, 1, index(block, "\n") - 1)
}

# The step from `old` to `new` has one parent, and just the headers it may have.
function check_step(new, old, allowed) {
  read_commit(new)
  if (parent[new] != (old ~ /^0+$/ ? "" : old)) refuse(new " is not built on " old)
  if (heads !~ allowed) refuse(new " has other headers")
}

# The string value of `name` in a record; the text up to the next member, which a quote within a string cannot end.
function member(record, name,   at) {
  at = index(record, "\"" name "\":")
  if (at == 0) return ""
  record = substr(record, at + length(name) + 3)
  if (substr(record, 1, 1) == "\"") {
    match(record, /^"([^"\\]|\\.)*"/)
    return substr(record, 1, RLENGTH)
  }
  match(record, /^[0-9]+/)
  return substr(record, 1, RLENGTH)
}

# The name of the key that JSON writes as `quoted`; a long one's up to its "~".
function name_of(quoted,   key, name, i, byte) {
  key = substr(quoted, 2, length(quoted) - 2)
  gsub(/\\"/, "\"", key)
  gsub(/\\\\/, "\\", key)
  plain = key
  name = ""
  for (i = 1; i <= length(key); i++) {
    byte = substr(key, i, 1)
    name = name (byte ~ /[A-Za-z0-9_.-]/ ? byte : sprintf("%%%02X", code[byte]))
  }
  if (match(name, /\.(manifest\.json|meta|ref|del)$/)) name = substr(name, 1, RSTART - 1) "%2E" substr(name, RSTART + 1)
  if (name ~ /^\./) name = "%2E" substr(name, 2)
  if (name ~ /\.$/) name = substr(name, 1, length(name) - 1) "%2E"
  if (length(name) <= 200) return name
  name = substr(name, 1, 120)
  sub(/%[0-9A-F]?$/, "", name)
  return name "~"
}

BEGIN {
  for (i = 1; i < 256; i++) code[sprintf("%c", i)] = i
  zero = "0000000000000000000000000000000000000000"
}

# Objects; the policy may be absent.
$0 == "- missing" { isSized = 1; next }
$2 == "missing" { next }
NF == 3 && $2 == "commit" {
  if ($1 != ledger && $1 != index_ && $1 != ledger_old && $1 != index_old) policy = $1
  take($1, $3)
  next
}
NF == 3 && $2 == "blob" {
  if (isSized) take($1, $3)
  else size[$1] = $3
  next
}
NF == 1 { side = $1 == ledger ? "ledger" : "index"; next }

# One line of the diff.
/^:/ {
  old = $3; new = $4; path = $6
  if (NF != 6 || new != zero && $2 != "100644") refuse(path " is no plain file")
  at = match(path, /[^\/]*$/)
  file = substr(path, at)
  dir = substr(path, 1, at - 1)
  if (side == "index") {
    kind = "index"
    name = file
    if (!sub(/(@[0-9]+)?\.ref$/, "", name) && !sub(/\.del$/, "", name)) refuse(path " is no entry")
  } else if (path == "kv.json" && old == zero && ledger_old == zero) {
    kv = new
    next
  } else {
    kind = substr(path, 1, 5) == "data/" ? "data" : "meta"
    name = file
    if (path !~ /^(data|meta)\/([0-9a-f]\/)*[^\/]+$/ || kind == "meta" && !sub(/\.meta$/, "", name) || name ~ /\.manifest\.json$/)
      refuse(path " is no file of a key")
    dir = substr(dir, 6)
  }
  names[name] = 1
  if (old != zero) { before[kind, name] = old; dir_before[kind, name] = dir; file_before[kind, name] = file }
  if (new != zero) {
    if ((kind, name) in after) refuse(name " is there twice")
    after[kind, name] = new; dir_after[kind, name] = dir; file_after[kind, name] = file
  }
}

END {
  if (failed) exit 1
  check_step(ledger, ledger_old, "^tp?acg?$")
  check_step(index_, index_old, "^tp?ac$")
  if (ledger_old != zero) read_commit(ledger_old)
  txn = trailer(ledger, "KV-Txn")
  if (txn !~ /^[0-7][0-9A-HJKMNP-TV-Z]+$/ || length(txn) != 26) refuse("no KV-Txn")
  isFirst = ledger_old == zero
  seq = isFirst ? 1 : trailer(ledger_old, "KV-Seq") + 1
  epoch = isFirst ? "e1" : trailer(ledger_old, "Epoch")

  for (name in names) judge(name)

  if (isFirst && text[kv] != "{\"v\":1,\"ns\":\"" ns "\",\"object_format\":\"sha1\"}") refuse("kv.json is another")
  expected = "KV-NS: " ns "\nKV-Txn: " txn "\nKV-Seq: " seq "\nBase-Tree: " (isFirst ? "-" : tree[ledger_old]) \
    "\nKV-Index-Tree: " tree[index_] "\nKV-Chunks-Tree: -\nKV-Policy: " (policy == "" ? "-" : policy) \
    "\nEpoch: " epoch "\nKeys-Set: " sets + 0 "\nKeys-Del: " deletions + 0 "\n"
  if (trailers[ledger] != expected) refuse("the ledger commit does not say what it does")
  if (trailers[index_] != "KV-NS: " ns "\nKV-Txn: " txn "\nKV-Seq: " seq "\nKV-Ledger-Tree: " tree[ledger] "\n")
    refuse("the kv-index commit does not say what it does")
  if (sets + deletions > 100000) refuse("too many keys")
}

# One key: what is in data, meta and kv-index must be told alike.
function judge(name,   old, new, entry, record, rev, base, key, oid, bytes, etag, ctype, expires, expected) {
  old = before["meta", name]
  new = after["meta", name]
  if (new != "" && dir_after["meta", name] != dir_before["meta", name])
    print "place", (dir_after["meta", name] == "" ? "-" : digits(dir_after["meta", name])), name, unquote(member(text[new], "key"))
  # Where a directory splits or folds, its files move and stay what they are.
  if (new != "" && new == old && after["data", name] == before["data", name]) {
    if (after["index", name] != before["index", name]) refuse(name " changes in the kv-index alone")
    return
  }
  if (new == "" && old == "") {
    if (("data", name) in before || ("data", name) in after || after["index", name] != before["index", name])
      refuse(name " has no record")
    return
  }
  if (("data", name) in after && new != "" && dir_after["data", name] != dir_after["meta", name])
    refuse(name " is not beside its record")
  entry = ("index", name) in before ? text[before["index", name]] : ""
  rev = entry == "" ? 1 : member(entry, "rev") + 1
  base = ledger_old == zero ? "" : ",\"base\":\"" ledger_old "\""
  key = new != "" ? member(text[new], "key") : member(text[old], "key")
  if (old != "" && entry == "") refuse(name " is not in the kv-index")
  if (entry != "" && member(entry, "key") != key) refuse(name " changes its key")
  if (new == "") {
    deletions++
    if (file_after["index", name] != name ".del" || ("data", name) in after || !(("data", name) in before)) refuse(name " is not deleted")
    if (text[after["index", name]] != "{\"v\":1,\"key\":" key ",\"type\":\"deleted\",\"rev\":" rev base "}")
      refuse(name " has another tombstone")
    return
  }
  sets++
  expected = name_of(key)
  if (expected ~ /~$/ ? index(name, expected) != 1 || length(name) != length(expected) + 64 : name != expected)
    refuse(name " is not the name of its key")
  record = text[new]
  etag = member(record, "etag")
  if (("data", name) in after) {
    oid = after["data", name]
    bytes = size[oid]
    print "value", oid, substr(etag, 2, length(etag) - 2)
  } else {
    if (old == "" || ("data", name) in before) refuse(name " has no value")
    oid = member(entry, "oid")
    oid = substr(oid, 2, length(oid) - 2)
    bytes = member(text[old], "size")
    if (etag != member(text[old], "etag")) refuse(name " has another etag")
  }
  if (bytes + 0 > 1048576) refuse(name " is too large")
  ctype = member(record, "ctype")
  expires = member(record, "expires")
  expected = "{\"v\":1,\"key\":" key ",\"type\":\"inline\",\"size\":" bytes ",\"etag\":" etag ",\"ctype\":" ctype ",\"rev\":" rev base
  if (expires != "") expected = expected ",\"expires\":" expires
  if (index(record, expected) != 1 || substr(record, length(expected) + 1) !~ /^(,"labels":\{.*\})?\}$/)
    refuse(name " has another record")
  if (file_after["index", name] != name (expires == "" ? "" : "@" expires) ".ref") refuse(name " is not in the kv-index")
  if (text[after["index", name]] != "{\"v\":1,\"key\":" key ",\"type\":\"inline\",\"oid\":\"" oid "\",\"size\":" bytes ",\"ctype\":" ctype ",\"rev\":" rev "}")
    refuse("the kv-index says otherwise of " name)
}

function digits(dir) {
  gsub(/\//, "", dir)
  return dir
}

function unquote(quoted) {
  name_of(quoted)
  return plain
}
