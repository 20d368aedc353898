/** How often something happened in each ten minutes of the past day, by name: what a day's figures are made from after a restart. */

import type { Database } from "bun:sqlite";

/** Milliseconds of one step, and how many of them are kept: a day. */
export const COUNT_STEP = 600_000;
export const COUNT_STEPS = 144;

/** What happened so often in the step that begins at `at`. */
export interface Count {
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly count: number;
}

export class JournalCounts {
  readonly #db: Database;

  /** In the journal `db`. */
  constructor(db: Database) {
    this.#db = db;
  }

  /** Counts one `name` at `at`, and lets go of what is more than a day away: behind, or ahead by a clock that was wrong. */
  add(name: string, at: number): void {
    const step = Math.floor(at / COUNT_STEP);
    const sql = "INSERT INTO tally (step, name, count) VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1";
    this.#db.query(sql).run(step, name);
    this.#db.query("DELETE FROM tally WHERE step <= ? OR step >= ?").run(step - COUNT_STEPS, step + COUNT_STEPS);
  }

  /** All that is kept, oldest first. */
  all(): Count[] {
    const sql = `SELECT name, step * ${COUNT_STEP} AS at, count FROM tally ORDER BY step, name`;
    return this.#db.query<Count, []>(sql).all();
  }
}
