/** The daemon's log: one JSON object a line. Never a value, never a token. */

export type Level = "info" | "warn" | "error";

/** Writes one event of `component`. */
export type Log = (level: Level, component: string, fields: Readonly<Record<string, unknown>>) => void;

/** A log whose lines go to `write`, without their newline. `now` gives milliseconds since 1970. */
export function jsonLog(write: (line: string) => void, now: () => number): Log {
  return (level, component, fields) => {
    write(JSON.stringify({ time: new Date(now()).toISOString(), level, component, ...fields }));
  };
}

/** Says nothing. */
export const silentLog: Log = () => {};
