/**
 * Named limits. Each holds before memory is taken; input can never grow a buffer, a queue or a loop past one.
 * Sizes are in bytes, times in milliseconds.
 */

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

export const LIMITS = {
  /** Longest pkt-line, its four length digits included (gitprotocol-common). */
  packet: 65_520,
  /** Longest pkt-line payload. */
  packetPayload: 65_516,
  /** Largest pack taken in one push. */
  packBytes: 16 * GiB,
  /** Most bytes that the objects of one pack may make when their deltas are applied (a few bytes can make many). */
  packInflatedBytes: 512 * GiB,
  /** Most objects in one pack. */
  packObjects: 20_000_000,
  /** Longest delta chain that is followed (git writes 50, at most 4,095). */
  deltaDepth: 4_095,
  /** Largest object that is inflated into memory. */
  objectBytes: 512 * MiB,
  /** Largest tree, commit or tag that is parsed. */
  parsedObjectBytes: 64 * MiB,
  /** Ref updates in one push, and the characters of them all. */
  refsPerPush: 32_768,
  commandChars: 8 * MiB,
  /** Longest ref name. */
  refName: 1_024,
  /** Refs held or read from a peer. */
  refs: 1_000_000,
  /** Negotiation lines (want, have, shallow) in one fetch request. */
  fetchLines: 1_000_000,
  /** Push options in one push, and the longest of them. */
  pushOptions: 64,
  pushOptionBytes: 4 * KiB,
  /** Largest request body of a negotiation (not of a push), inflated. */
  requestBody: 64 * MiB,
  /** Bytes of objects a Stargate keeps in memory for each repository, and half as much again for each large push under way. */
  serverObjectCache: 128 * MiB,
  /** Bytes that a Stargate keeps of how the objects of the last pushes are made. */
  recentBases: 8 * MiB,
  /** Bytes of pack indexes that a Stargate keeps whole in memory; of further ones it keeps four bytes for each object. */
  keptIndexes: 8 * MiB,
  /** Refused pushes the journal remembers, and most characters it keeps of why. */
  journalRejections: 10_000,
  journalMessage: 300,
  /** Bytes of pack and index up to which the journal keeps the objects of a push, and most such packs it keeps. */
  keptPackBytes: 128 * KiB,
  keptPacks: 256,
  /** Streams of events a door keeps open for those with a token, and as many for all others; those of one of them. */
  watchers: 1_024,
  watchersOfOne: 128,
  /** Longest key in bytes of UTF-8 (docs/formats, section 3). */
  keyBytes: 1_024,
  /** Default largest inline value. */
  inlineValue: 1 * MiB,
  /**
   * Smallest and largest size that pieces of a chunked value may be given. A manifest names each of them, so tiny ones would cost
   * more than they hold; one is held in memory.
   */
  pieceLeast: 1 * KiB,
  pieceMost: 16 * MiB,
  /** Largest manifest of a chunked value (docs/formats, section 6). */
  manifestBytes: 4 * MiB,
  /**
   * Largest value where no policy says otherwise, and bytes of the large values of one transaction: a manifest of 4 MiB can name one
   * piece over and over, and all of it is read.
   */
  valueBytes: 16 * GiB,
  /** Most new pieces of one transaction. */
  piecesPerTransaction: 1_000_000,
  /** Latest time a value may expire at, and a commit be made at, in Unix seconds: the last second RFC 3339 can write. */
  latestTime: 253_402_300_799,
  /** Tries of a transaction that meets a moving tip. */
  conflictRetries: 20,
  /** Pushes to one namespace that wait for their turn. */
  waitingPushes: 1_024,
  /** Depth of `include` in git config (as git). */
  configIncludeDepth: 10,
  /** Largest git config file. */
  configBytes: 16 * MiB,
  /** Packs that may lie side by side before small ones are combined. */
  packs: 16,
  /** Most objects of packs that a Stargate combines at once. Packs of half as many stay as they are. */
  combinedObjects: 250_000,
  /** Loose objects that may lie about before they are put into a pack (as git's gc.auto). */
  looseObjects: 6_700,
  /** Depth of directories in a tree walk. */
  treeDepth: 4_096,
  /** Symbolic ref hops (as git). */
  symrefDepth: 5,
  /** Alternates nesting (as git). */
  alternatesDepth: 5,
  /** Links of the policy's chain that are followed from its tip. */
  policyLinks: 100_000,
  /** Most keys of one import. */
  importKeys: 10_000_000,
  /** Longest line of a batch file. */
  batchLine: 8 * MiB,
  /** Longest blob of an SSH public key: an RSA key of 16,384 bits has a little over 2 KiB. */
  sshKeyBytes: 8 * KiB,
  /** Longest armored SSH signature: that of an RSA key of 16,384 bits has about 6,000 characters. */
  sshSignature: 16 * KiB,
  /** Longest armored OpenPGP signature, and longest armored OpenPGP key (keys gather certifications). */
  openpgpSignature: 64 * KiB,
  openpgpKey: 1 * MiB,
  /** Largest key file that is read to sign with. */
  keyFile: 64 * KiB,
  /** Longest message of an SSH agent (as OpenSSH), and most keys in one. */
  agentMessage: 256 * KiB,
  agentKeys: 2_048,
  /** Most that is kept of what a program that signs says. */
  programOutput: 1 * MiB,
  /** Wrong tokens that an address may give before it has to wait, the longest wait, and how long that is remembered. */
  loginFailures: 10,
  loginWait: 60_000,
  loginMemory: 10 * 60_000,
  /** Addresses of which that is remembered. */
  loginAddresses: 10_000,
  /** Bytes of packs that are kept of a remote that is read without a clone, and how long they are when nobody reads it. */
  cacheBytes: 512 * MiB,
  cacheAge: 30 * 24 * 60 * 60_000,
  /** Requests that `git kv serve` answers at a time, and the longest that one may wait for a change. */
  servedRequests: 1_024,
  servedWait: 300_000,
  /** Keys of a listing it gives at a time, where the request does not say, and at most. */
  servedKeys: 1_000,
  servedKeysMost: 1_000_000,
  /** Time another process may hold a ref lock before we give up. */
  lockWait: 5_000,
} as const;
