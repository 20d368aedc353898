/**
 * Who decides about a push: the session (receive-pack.ts) speaks the protocol, brings the pack into a quarantine and
 * checks it; its host says which refs there are, and accepts or refuses.
 */

import type { KvError } from "../../errors.ts";
import type { ObjectSource } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import type { Quarantine } from "../store/quarantine.ts";
import type { Capabilities } from "./capabilities.ts";
import type { PushCommand } from "./receive-commands.ts";
import type { ReceiveSettings } from "./receive-settings.ts";
import type { RefResult } from "./report-status.ts";
import type { VisibleRefs } from "./visible-refs.ts";

/** What is known of a push before its pack is read. */
export interface PushIntent {
  /** Valid ref names, no ref twice. */
  readonly commands: readonly PushCommand[];
  /** All refs move or none. */
  readonly atomic: boolean;
  readonly pushOptions: readonly string[];
  /** What the client calls itself, if it says so. Untrusted text. */
  readonly agent: string | undefined;
  /** What the client says it can do. Untrusted text. */
  readonly capabilities: Capabilities;
  /** Sends text (whole lines, "\n" at their ends; bytes as they are) to the person who pushes; lost where the client takes none. */
  progress(text: string | Uint8Array): void;
}

/** A push whose objects have arrived, are intact and connected. */
export interface Push extends PushIntent {
  /** Where the new objects are until {@link Quarantine.migrate}; undefined where no pack came (one without objects may). */
  readonly quarantine: Quarantine | undefined;
  /** The new objects and the repository's. */
  readonly objects: ObjectSource;
  /** Commits that some of these refs need to be cut off at, because the client has no more; by ref. */
  readonly shallow?: ReadonlyMap<string, readonly Oid[]>;
}

export interface ReceivePackHost {
  /** What is particular to this repository. */
  readonly settings: ReceiveSettings;
  /** What is advertised, one consistent snapshot in byte order; hidden refs left out. */
  refs(): VisibleRefs;
  /**
   * Rejections that need no objects, before the pack is read: a result for every command, or undefined to go on. Where it
   * rejects, the pack is read over and thrown away.
   */
  preflight?(push: PushIntent): Promise<readonly RefResult[] | undefined>;
  /** Whether {@link apply} will read the push's blobs, so that small ones are kept in memory as they arrive. */
  readsBlobs?(push: PushIntent): boolean;
  /**
   * Bytes of pack and index up to which the objects of the push may wait in memory: for an {@link apply} that asks of `push.quarantine` no
   * more than to be copied and migrated. Default 0.
   */
  mostHeld?(push: PushIntent): number;
  /**
   * Decides, brings the objects in (`push.quarantine?.migrate()`) and moves the refs. Returns a result for every command;
   * an atomic push is all ok or all ng. What is thrown becomes the reason of every command, and nothing must have
   * moved then. The session discards a quarantine that was not migrated.
   */
  apply(push: Push): Promise<readonly RefResult[]>;
  /** Told of what the session refuses by itself: a pack or a request that is not sound. */
  refused?(commands: readonly PushCommand[], error: KvError): void;
  /** Called when the client has its report, with the commands that were done. */
  after?(push: PushIntent, done: readonly PushCommand[]): Promise<void>;
  /** Tips of the repository's alternates: what need not be sent (`.have` lines). */
  haves?(): Iterable<Oid>;
  /** Commits that are here without their parents. */
  shallow?(): readonly Oid[];
}
