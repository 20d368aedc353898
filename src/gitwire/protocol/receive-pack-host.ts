/**
 * Who decides about a push: the session (receive-pack.ts) speaks the protocol, brings the pack into a quarantine and
 * checks it; its host says which refs there are, and accepts or refuses.
 */

import type { ObjectSource } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import type { Quarantine } from "../store/quarantine.ts";
import type { PushCommand } from "./receive-commands.ts";
import type { RefResult } from "./report-status.ts";

/** What is known of a push before its pack is read. */
export interface PushIntent {
  /** Valid ref names, no ref twice. */
  readonly commands: readonly PushCommand[];
  /** All refs move or none. */
  readonly atomic: boolean;
  readonly pushOptions: readonly string[];
  /** What the client calls itself, if it says so. Untrusted text. */
  readonly agent: string | undefined;
  /** Sends text (whole lines, "\n" at their ends) to the person who pushes; lost where the client takes none. */
  progress(text: string): void;
}

/** A push whose objects have arrived, are intact and connected. */
export interface Push extends PushIntent {
  /** Where the new objects are until {@link Quarantine.migrate}; undefined where no object came. */
  readonly quarantine: Quarantine | undefined;
  /** The new objects and the repository's. */
  readonly objects: ObjectSource;
}

/** A ref as it is advertised. */
export interface AdvertisedRef {
  readonly name: string;
  readonly oid: Oid;
}

export interface ReceivePackHost {
  /** What is advertised, one consistent snapshot in byte order; hidden refs left out. */
  refs(): Iterable<AdvertisedRef> | Promise<Iterable<AdvertisedRef>>;
  /**
   * Rejections that need no objects, before the pack is read: a result for every command, or undefined to go on. Where it
   * rejects, the pack is read over and thrown away.
   */
  preflight?(push: PushIntent): Promise<readonly RefResult[] | undefined>;
  /**
   * Decides, brings the objects in (`push.quarantine?.migrate()`) and moves the refs. Returns a result for every command;
   * an atomic push is all ok or all ng. What is thrown becomes the reason of every command, and nothing must have
   * moved then. The session discards a quarantine that was not migrated.
   */
  apply(push: Push): Promise<readonly RefResult[]>;
}
