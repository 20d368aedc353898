#!/bin/sh
# Makes the vectors of this folder: commits signed by the real git with ssh-keygen and gpg, in both object formats.
#   <key>.pub / <key>.asc       the public key
#   <key>.<format>.commit       the signed commit, raw
# The private keys are thrown away. Run it in this folder; every run makes other keys.
set -eu
here=$(cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'gpgconf --homedir "$work/gnupg" --kill all; rm -rf "$work"' EXIT
export HOME="$work" GNUPGHOME="$work/gnupg" GIT_CONFIG_NOSYSTEM=1
mkdir -m 700 "$GNUPGHOME"
git config --global user.name "Zoë Vector"
git config --global user.email zoe@example.org
rm -f "$here"/*.pub "$here"/*.asc "$here"/*.commit

sign() { # key, further options of git
  name=$1
  shift
  for format in sha1 sha256; do
    rm -rf "$work/repo"
    git init -q --object-format=$format "$work/repo"
    printf 'Signed with %s\n\nA body, with an ümlaut.\n\nKV-NS: main\n' "$name" |
      git -C "$work/repo" "$@" commit -q -S --allow-empty -F -
    git -C "$work/repo" cat-file commit HEAD >"$here/$name.$format.commit"
  done
}

for key in ed25519 ecdsa:256 ecdsa:384 ecdsa:521 rsa:2048 rsa:4096; do
  type=${key%:*}
  bits=${key#"$type"}
  bits=${bits#:}
  file="$work/$type$bits"
  ssh-keygen -q -t "$type" ${bits:+-b "$bits"} -N '' -C "$type$bits vector" -f "$file"
  cp "$file.pub" "$here/$type$bits.pub"
  sign "$type$bits" -c gpg.format=ssh -c user.signingKey="$file"
done

gpg_key() { # name, algorithm, digest for its signatures
  gpg --batch --quiet --passphrase '' --quick-generate-key "$1 <$1@example.org>" "$2" sign "${4:-never}"
  printf 'digest-algo %s\n' "$3" >"$GNUPGHOME/gpg.conf"
  sign "$1" -c user.signingKey="$1@example.org"
  : >"$GNUPGHOME/gpg.conf"
  gpg --armor --export "$1@example.org" >"$here/$1.asc"
}
gpg_key pgp-ed25519 ed25519 SHA512
gpg_key pgp-rsa3072 rsa3072 SHA256
gpg_key pgp-nistp384 nistp384 SHA384
gpg_key pgp-sha1 rsa3072 SHA1
gpg_key pgp-rsa1024 rsa1024 SHA256
# SHA-1 in what binds the key together.
printf 'cert-digest-algo SHA1\n' >"$GNUPGHOME/gpg.conf"
gpg_key pgp-sha1-bound rsa3072 SHA256
gpg_key pgp-expiring ed25519 SHA256 2y

# A key whose subkey signs, and one that was revoked afterwards.
gpg --batch --quiet --passphrase '' --quick-generate-key 'pgp-subkey <pgp-subkey@example.org>' ed25519 cert never
fpr=$(gpg --list-keys --with-colons pgp-subkey@example.org | awk -F: '$1 == "fpr" { print $10; exit }')
gpg --batch --quiet --passphrase '' --quick-add-key "$fpr" ed25519 sign never
sign pgp-subkey -c user.signingKey=pgp-subkey@example.org
gpg --armor --export pgp-subkey@example.org >"$here/pgp-subkey.asc"
gpg_key pgp-revoked ed25519 SHA256
fpr=$(gpg --list-keys --with-colons pgp-revoked@example.org | awk -F: '$1 == "fpr" { print $10; exit }')
sed 's/^:---/---/' "$GNUPGHOME/openpgp-revocs.d/$fpr.rev" | gpg --batch --quiet --import
gpg --armor --export pgp-revoked@example.org >"$here/pgp-revoked.asc"
