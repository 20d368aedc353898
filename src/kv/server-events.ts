/**
 * Server-sent events (WHATWG HTML, 9.2 "Server-sent events"), as a Stargate tells of new transactions:
 *
 *     stream = *( ":" comment LF / field ":" [SP] value LF / LF )        an empty line ends an event
 *
 * Only what a Stargate sends is understood: `data` in one line, `id`, comments as a sign of life.
 */

import { deferred } from "../deferred.ts";
import { KvError } from "../errors.ts";

/** Longest line that is read. */
const MAX_LINE = 65_536;

/**
 * The data of each event of `stream`. Throws NETWORK where nothing at all comes for `silence` milliseconds, it breaks off, or
 * `signal` is aborted.
 */
export async function* eventData(
  stream: ReadableStream<Uint8Array>,
  silence: number,
  signal?: AbortSignal,
): AsyncGenerator<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let pending = "";
  let data: string | undefined;
  try {
    for (;;) {
      const chunk = await inTime(reader.read(), silence, signal);
      if (chunk.done) throw new KvError("NETWORK", "the Stargate ended the stream of events");
      pending += decoder.decode(chunk.value, { stream: true });
      const lines = pending.split(/\r\n|\n|\r/);
      pending = lines.pop()!;
      if (pending.length > MAX_LINE) throw new KvError("PROTOCOL", "a line of the stream of events is too long");
      for (const line of lines) {
        if (line === "") {
          if (data !== undefined) yield data;
          data = undefined;
        } else if (line.startsWith("data:")) data = line.slice(5).replace(/^ /, "");
      }
    }
  } catch (error) {
    if (error instanceof KvError) throw error;
    throw new KvError("NETWORK", "the stream of events broke off", { cause: error });
  } finally {
    await reader.cancel().catch(() => {});
  }
}

async function inTime<T>(work: Promise<T>, most: number, signal: AbortSignal | undefined): Promise<T> {
  const late = deferred<never>();
  const abort = (): void => late.reject(new KvError("NETWORK", "the stream of events was left"));
  signal?.addEventListener("abort", abort, { once: true });
  if (signal?.aborted) abort();
  const timer = setTimeout(() => late.reject(new KvError("NETWORK", "the stream of events fell silent")), most);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}
