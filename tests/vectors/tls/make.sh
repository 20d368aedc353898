#!/bin/sh
# Makes a certificate authority, a certificate for 127.0.0.1 and localhost and one for elsewhere.example, valid for a hundred years, for tests.
set -eu
cd "$(dirname "$0")"
curve="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $curve -keyout ca.key -out ca.pem -days 36500 -subj "/CN=git-kv test authority"
openssl req $curve -keyout server.key -out server.csr -subj "/CN=localhost"
sign() { # names, file
  printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\n' "$1" > server.ext
  openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out "$2" -days 36500 -extfile server.ext
}
sign IP:127.0.0.1,DNS:localhost server.pem
sign DNS:elsewhere.example elsewhere.pem
rm -f ca.key ca.srl server.csr server.ext
