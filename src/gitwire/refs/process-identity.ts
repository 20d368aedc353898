/**
 * Who holds a lock, and whether that process still runs.
 *
 * A process is named by its id, its start time (ids are reused), the id of the boot and of the pid namespace it lives in
 * (ids mean nothing outside) and the host name. Where /proc is missing (macOS) the id alone has to do.
 */

import * as fs from "node:fs";
import * as os from "node:os";
import { isAlive } from "../../alive.ts";

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks from boot to the start of the process, or "-". */
  readonly start: string;
  /** Id of this boot of the machine, or "-". */
  readonly boot: string;
  /** Pid namespace, or "-". */
  readonly namespace: string;
  readonly host: string;
}

export type Liveness = "alive" | "dead" | "unknown";

let current: ProcessIdentity | undefined;

/** This process. */
export function thisProcess(): ProcessIdentity {
  current ??= {
    pid: process.pid,
    start: startTime(process.pid) ?? "-",
    boot: firstLine("/proc/sys/kernel/random/boot_id") ?? "-",
    namespace: pidNamespace(),
    host: os.hostname().replace(/\s/g, "_") || "-",
  };
  return current;
}

/** Whether the process `other` still runs; "unknown" where it cannot be seen from here (another host or container). */
export function liveness(other: ProcessIdentity): Liveness {
  const self = thisProcess();
  if (other.boot !== self.boot) return other.host === self.host ? "dead" : "unknown";
  if (other.namespace !== self.namespace) return "unknown";
  if (self.boot === "-" && other.host !== self.host) return "unknown";
  if (!isAlive(other.pid)) return "dead";
  return other.start === "-" || startTime(other.pid) === other.start ? "alive" : "dead";
}

/** Field 22 of /proc/<pid>/stat; the command name before it may hold spaces and parentheses. */
function startTime(pid: number): string | undefined {
  const stat = firstLine(`/proc/${pid}/stat`);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}

function firstLine(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8").split("\n")[0];
  } catch {
    return undefined;
  }
}

function pidNamespace(): string {
  try {
    return fs.readlinkSync("/proc/self/ns/pid").replace(/\s/g, "_");
  } catch {
    return "-";
  }
}
