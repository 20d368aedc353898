/** Says where a value is cut of which an older version has been cut already (docs/formats/data-format.md, section 6). */

export interface CutGuide {
  /**
   * The size of the piece that `seen` begins with; undefined: it is cut by content. `seen` is what the chunking's largest size lets one
   * see, or where `isEnd` all that is left. It goes on where the piece before it ended.
   */
  next(seen: Buffer, isEnd: boolean): number | undefined;
  /** The piece it left to be cut by content. */
  passed(piece: Buffer): void;
}
