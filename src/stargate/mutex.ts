/** Taking turns: what runs under one name runs one after the other, in the order of the calls. */

export class Mutexes {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Runs `action` when everything started before under `name` has ended; passes on its result or its error. */
  async run<T>(name: string, action: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(name) ?? Promise.resolve();
    const turn = before.then(action, action);
    const tail = turn.then(
      () => {},
      () => {},
    );
    this.#tails.set(name, tail);
    try {
      return await turn;
    } finally {
      if (this.#tails.get(name) === tail) this.#tails.delete(name);
    }
  }
}
