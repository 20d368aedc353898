/** Typed arrays that grow as members arrive, so that a declared count takes no memory before its members do. */

type Growable = Float64Array | Uint32Array | Int32Array | Uint8Array;

/** `array`, or a copy at least twice as long where it has no member `index` yet. */
export function withRoom<T extends Growable>(array: T, index: number): T {
  if (index < array.length) return array;
  const grown = new (array.constructor as new (length: number) => T)(Math.max(64, array.length * 2, index + 1));
  grown.set(array);
  return grown;
}
