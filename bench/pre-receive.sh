#!/bin/sh
# pre-receive: what a Stargate checks of a transaction, with git, sh, awk, coreutils and b3sum. It takes one transaction of values
# that are not in pieces, and nothing else. gpg.ssh.allowedSignersFile names the writers; their signature is required. Not
# checked: whether directories split and fold where the format says (where keys come
# or go, that takes the trees to be made again), and whether a KV-Txn was used before.
set -euf
export LC_ALL=C
zero=0000000000000000000000000000000000000000
refuse() {
  echo "refused: $1" >&2
  exit 1
}

# Both refs of one namespace, and no other.
count=0 ns= index_ns=
while read -r old new ref; do
  count=$((count + 1))
  case $ref in
    refs/kv/*) ns=${ref#refs/kv/} ledger_old=$old ledger=$new ;;
    refs/kv-index/*) index_ns=${ref#refs/kv-index/} index_old=$old index=$new ;;
    *) refuse "$ref is no ref of a transaction" ;;
  esac
done
[ "$count" = 2 ] && [ -n "$ns" ] && [ "$ns" = "$index_ns" ] || refuse "no transaction of one namespace"
case " $ledger_old $ledger $index_old $index " in
  *" $zero $zero "* | *" $ledger_old $zero "* | *" $index_old $zero "*) refuse "a ref is deleted" ;;
esac
[ "$ledger_old" = "$zero" ] || [ "$index_old" != "$zero" ] || refuse "one ref without the other"

# The signature is checked beside all else.
git -c gpg.minTrustLevel=fully verify-commit "$ledger" 2>/dev/null &
signature=$!

commits=$(printf '%s\n' "$ledger" "$index" "$ledger_old" "$index_old" refs/kv-policy | git cat-file --batch)
# Of two commits, the second is taken for the parent of the first.
diff=$(printf '%s\n' "$ledger ${ledger_old#$zero}" "$index ${index_old#$zero}" | git diff-tree --stdin --root -r --no-renames)

# The sizes of new values, a line between, and what every other file was and is.
wanted=$(
  printf '%s\n' "$diff" | while read -r _ _ _ new _ path; do
    case $path in data/*) [ "$new" = "$zero" ] || echo "info $new" ;; esac
  done
  echo "info -"
  printf '%s\n' "$diff" | while read -r _ _ old new _ path; do
    case $path in '' | data/*) continue ;; esac
    [ "$old" = "$zero" ] || echo "contents $old"
    [ "$new" = "$zero" ] || echo "contents $new"
  done
)

# Says `value OID ETAG` of each new value, and `place DIGITS NAME KEY` of each record that was not in its place before.
todo=$(
  {
    printf '%s\n' "$commits" "$diff"
    printf '%s\n' "$wanted" | git cat-file --batch-command
  } | awk -v ns="$ns" -v ledger="$ledger" -v index_="$index" -v ledger_old="$ledger_old" -v index_old="$index_old" \
    -f "${0%/*}/transaction.awk"
) || exit 1

printf '%s\n' "$todo" | while read -r what first second rest; do
  case $what in
    value)
      [ "blake3:$(git cat-file blob "$first" | b3sum --no-names)" = "$second" ] || refuse "$first is not $second"
      ;;
    place)
      digest=$(printf %s "$rest" | sha256sum)
      digest=${digest%% *}
      case $digest in "${first#-}"*) ;; *) refuse "$second is in the wrong place" ;; esac
      case $second in *~*) [ "${second##*~}" = "$digest" ] || refuse "$second is not the name of its key" ;; esac
      ;;
  esac
done || exit 1

wait "$signature" || refuse "no writer signed $ledger"
