/** SHA-256 of the pieces of large values: here, or by another thread while this one goes on. */

/** Bytes from which another thread pays: to call it takes as long as hashing a few kilobytes. */
const BESIDE = 64 * 1024;

/** SHA-256 in hex. */
export function sha256Of(data: Uint8Array): string {
  return new Bun.SHA256().update(data).digest("hex");
}

/** As {@link sha256Of}. Large data is hashed by another thread, from a copy: it may be written over at once. */
export function sha256Beside(data: Uint8Array): string | Promise<string> {
  if (data.length < BESIDE) return sha256Of(data);
  return crypto.subtle
    .digest("SHA-256", data as Uint8Array<ArrayBuffer>)
    .then((digest) => Buffer.from(digest).toString("hex"));
}
