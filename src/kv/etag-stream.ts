/**
 * The etag of a value that comes in portions, computed by vectors (blake3/), 2.8 times as fast as hash-wasm, where the processor has
 * them. Apart from etag.ts, so that a value in pieces is read without what hashes small ones.
 */

/** The etag of a value that comes in portions. */
export interface EtagStream {
  update(portion: Uint8Array): void;
  /** Takes up a group of bytes by its node (blake3/stream.ts); not there where the etag is computed without vectors. */
  updateNode?(node: Uint8Array): void;
  /** The etag of all portions; the stream is of no use afterwards. */
  finish(): string;
}

/** Begins the etag of a long value. `onNode` is told the node of each group, where {@link EtagStream.updateNode} is there. */
export async function openEtag(onNode?: (node: Uint8Array) => void): Promise<EtagStream> {
  const { openBlake3 } = await import("./blake3/stream.ts");
  const stream = openBlake3(onNode);
  if (stream !== undefined) {
    return {
      update: (portion) => stream.update(portion),
      updateNode: (node) => stream.updateNode(node),
      finish: () => named(stream.finish()),
    };
  }
  const { createBLAKE3 } = await import("hash-wasm");
  const hasher = (await createBLAKE3()).init();
  return {
    update: (portion) => void hasher.update(portion),
    finish: () => named(hasher.digest("hex")),
  };
}

const named = (hex: string): string => `blake3:${hex}`;
