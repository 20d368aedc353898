/** How far those who are told of transactions have got in the journal: the id of the last row each of them took. */

import type { Database } from "bun:sqlite";

export class JournalPositions {
  readonly #db: Database;
  readonly #run: <T>(action: () => T) => T;
  readonly #relaxed: (action: () => void) => void;

  /** In the journal `db`; `run` does what is to be done there, and turns its errors into ours; `relaxed` waits for no disk. */
  constructor(db: Database, run: <T>(action: () => T) => T, relaxed: (action: () => void) => void) {
    this.#db = db;
    this.#run = run;
    this.#relaxed = relaxed;
  }

  /** The last row `name` has taken; whoever is new begins behind the newest one. */
  of(name: string): number {
    return this.#run(() => {
      const find = this.#db.query<{ entry: number }, [string]>("SELECT entry FROM position WHERE name = ?");
      const found = find.get(name)?.entry;
      if (found !== undefined) return found;
      const newest = this.#db.query<{ id: number | null }, []>("SELECT max(id) AS id FROM entry").get()?.id ?? 0;
      this.#db.query("INSERT INTO position (name, entry) VALUES (?, ?)").run(name, newest);
      return newest;
    });
  }

  /** Notes that `name` has taken all up to the row `id`. */
  set(name: string, id: number): void {
    this.#run(() => this.#db.query("UPDATE position SET entry = ? WHERE name = ?").run(id, name));
  }

  /** The last row of what `name` was being told of when that was noted last. */
  begun(name: string): number | undefined {
    const find = "SELECT entry FROM position WHERE name = ?";
    return this.#run(() => this.#db.query<{ entry: number }, [string]>(find).get(`${name} begun`)?.entry);
  }

  /** Notes that `name` is going to be told of all up to the row `id`. Does not wait for the disk. */
  begin(name: string, id: number): void {
    const note = "INSERT OR REPLACE INTO position (name, entry) VALUES (?, ?)";
    this.#relaxed(() => this.#db.query(note).run(`${name} begun`, id));
  }

  /** How many transactions have rows behind the row `id`. */
  behind(id: number): number {
    const sql = "SELECT count(*) AS count FROM entry WHERE id > ? AND kind = 'txn'";
    return this.#run(() => this.#db.query<{ count: number }, [number]>(sql).get(id)?.count ?? 0);
  }
}
