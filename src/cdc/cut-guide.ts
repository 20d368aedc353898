/** Says where a value is cut of which an older version has been cut already (docs/formats/data-format.md, section 6). */

export interface CutGuide {
  /**
   * The size of the piece that `seen` begins with; undefined: it is cut by content. `seen` is what the chunking's largest size lets one
   * see, or where `isEnd` all that is left. It goes on where the piece before it ended.
   */
  next(seen: Buffer, isEnd: boolean): number | undefined;
  /** The piece it left to be cut by content. */
  passed(piece: Buffer): void;
  /** Told what is seen behind the piece that was just cut, to begin what {@link next} will take long for. */
  foresee?(seen: Buffer): void;
  /** When that is done. Whoever has something else to do meanwhile waits for it; else `next` does it itself. */
  ready?(): Promise<void>;
}
