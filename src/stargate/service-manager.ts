/**
 * Tells systemd how the daemon is (sd_notify(3)): datagrams of `NAME=VALUE` lines to the unix socket NOTIFY_SOCKET names.
 *
 *   READY=1             it takes requests            STOPPING=1   it finishes what is under way
 *   RELOADING=1, MONOTONIC_USEC=n, then READY=1      WATCHDOG=1   it is alive, at least every WATCHDOG_USEC
 *
 * The runtime has no datagrams over unix sockets, so the C library is asked, which the executable needs anyway
 * (docs/design/161-service.md). Where that fails the daemon goes on: telling is not serving.
 */

import { dlopen, FFIType, ptr } from "bun:ffi";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
/** Bytes of a path in sockaddr_un, the one that ends it included (unix(7)). */
const PATH_MAX = 108;

const SYMBOLS = {
  socket: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  sendto: {
    args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32, FFIType.ptr, FFIType.u32],
    returns: FFIType.i64,
  },
  close: { args: [FFIType.i32], returns: FFIType.i32 },
} as const;

/** What the C library is called, glibc's name first, then musl's. */
const LIBRARIES = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

type Environment = Readonly<Record<string, string | undefined>>;

export class ServiceManager {
  readonly #send: (text: string) => void;
  #watchdog: Timer | undefined;

  private constructor(send: (text: string) => void) {
    this.#send = send;
  }

  /** The service manager that started us, or undefined where there is none. Throws where it cannot be talked to. */
  static of(env: Environment): ServiceManager | undefined {
    const socket = env.NOTIFY_SOCKET;
    if (socket === undefined || socket === "" || process.platform !== "linux") return undefined;
    const send = datagramSender(socket);
    const manager = new ServiceManager(send);
    manager.#watch(env);
    return manager;
  }

  ready(status: string): void {
    this.#send(`READY=1\nSTATUS=${oneLine(status)}`);
  }

  reloading(): void {
    this.#send(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  }

  stopping(): void {
    this.#send("STOPPING=1\nSTATUS=finishing what is under way");
  }

  /** Ends the signs of life. */
  close(): void {
    clearInterval(this.#watchdog);
  }

  /** Gives signs of life, twice as often as asked: they stop when the event loop does. */
  #watch(env: Environment): void {
    const microseconds = Number(env.WATCHDOG_USEC ?? 0);
    const isForUs = env.WATCHDOG_PID === undefined || Number(env.WATCHDOG_PID) === process.pid;
    if (!isForUs || !Number.isSafeInteger(microseconds) || microseconds <= 0) return;
    this.#watchdog = setInterval(() => this.#send("WATCHDOG=1"), Math.max(1, microseconds / 2000));
    this.#watchdog.unref();
  }
}

/** Sends datagrams to the unix socket at `socket`; `@name` is an abstract one. Throws where the C library is not there. */
function datagramSender(socket: string): (text: string) => void {
  const address = socketAddress(socket);
  const { symbols } = openLibrary();
  const fd = symbols.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new Error("no socket can be made");
  return (text) => {
    const bytes = Buffer.from(text, "utf8");
    // Nobody may listen any more; that is no reason to stop.
    symbols.sendto(fd, ptr(bytes), bytes.length, MSG_NOSIGNAL, ptr(address), address.length);
  };
}

/** sockaddr_un: the family in the machine's byte order, then the path. */
function socketAddress(socket: string): Buffer {
  const name = Buffer.from(socket, "utf8");
  if (name.length >= PATH_MAX) throw new Error(`the path of the socket is too long: ${socket}`);
  const isAbstract = socket.startsWith("@");
  const address = Buffer.alloc(2 + name.length + (isAbstract ? 0 : 1));
  new Uint16Array(address.buffer, address.byteOffset, 1)[0] = AF_UNIX;
  name.copy(address, 2);
  if (isAbstract) address[2] = 0;
  return address;
}

function openLibrary() {
  let failure: unknown;
  for (const name of LIBRARIES) {
    try {
      return dlopen(name, SYMBOLS);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ");
}
