/** Buffer methods that Node and Bun both have and the type packages leave out: slices without an options check. */
interface Buffer {
  hexSlice(start?: number, end?: number): string;
  latin1Slice(start?: number, end?: number): string;
  utf8Slice(start?: number, end?: number): string;
  latin1Write(text: string, offset?: number, length?: number): number;
  utf8Write(text: string, offset?: number, length?: number): number;
  hexWrite(text: string, offset?: number, length?: number): number;
}
