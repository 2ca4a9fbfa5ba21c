/**
 * How clients take part in a federation, from any language.
 *
 * Transport and protocol: framed (a 4-byte big-endian length before every
 * message), binary protocol, strict. No frame is longer than 8 MiB, and none
 * longer than 64 KiB before `join`. TLS where the server asks for it.
 *
 * A connection begins with `join` and then repeats:
 *
 *   poll ──► a task? ──► fetch its bytes ──► work ──► beginUpload, putChunk..., commit
 *
 * A task's bytes are a safetensors file. Tensors "weights/0", "weights/1", ...
 * are the model's parameters in order, "buffers/<i>" its buffers, and
 * "aux.<name>/<i>" what a method broadcasts. What `Work` says stands in the
 * file's metadata as well.
 *
 * An update's bytes are a safetensors file, too. Its metadata, all of it text:
 *   fedlb.format        "1"
 *   fedlb.kind          "gradient" (of the mean loss) or "delta" (w_client - w)
 *   fedlb.round         the task's
 *   fedlb.client        the client's number
 *   fedlb.num_examples  what the update weighs in a mean: the examples behind a
 *                       gradient; the examples that the client holds; 1 where
 *                       client_algorithm is scaffold or feddyn
 *   fedlb.num_samples   examples whose gradient was taken, with repetitions
 *   fedlb.local_steps   optimizer steps; 1 for a gradient
 *   fedlb.group.parameters  the number of tensors "parameters/<i>"
 *   fedlb.group.buffers     likewise, only when the task has buffers
 *   fedlb.scalar.<name>     a number for the server's log, train_loss for one;
 *                       sync_vote, 0 or 1, is a client's vote in selsync
 * and its tensors "parameters/<i>" have the shapes and the type of the task's
 * "weights/<i>"; "buffers/<i>" those of its "buffers/<i>".
 *
 * Every call may be repeated: after a lost connection a client joins again with
 * the same `process`, asks beginUpload where to go on, and sends the rest. One
 * update per client and task counts.
 */
namespace cpp fedlb.wire
namespace py fedlb_wire

/** Sent in Hello and Welcome. A server refuses other versions. */
const i32 PROTOCOL_VERSION = 1

/** A chunk of a task or an update has at most this many bytes. */
const i32 MAX_CHUNK_BYTES = 1048576

/** How a client wants bytes checked; one kind for a whole connection. */
enum Checksum {
  /** CRC-32 as in zlib, for languages that have nothing else. */
  CRC32 = 1
  /** XXH3 with 64 bits, read as a signed number. */
  XXH3 = 2
}

enum RefusalCode {
  /** The two sides speak other versions of this file. */
  VERSION = 1
  /** A call before join. */
  NOT_JOINED = 2
  /** No token, a wrong one, or no certificate. */
  UNAUTHENTICATED = 3
  /** The credentials do not cover this client. */
  FORBIDDEN = 4
  /** The federation has no such client. */
  UNKNOWN_CLIENT = 5
  /** Another process has joined with the same client since. */
  SUPERSEDED = 6
  /** The task is over, or was never this client's. Poll for the next one. */
  TASK_CLOSED = 7
  /** Larger than the server takes, or than declared. */
  TOO_LARGE = 8
  /** The bytes do not have their checksum. Send them again. */
  CORRUPT = 9
  /** A chunk that does not follow the one before: ask beginUpload. */
  OUT_OF_ORDER = 10
  /** The update cannot be read. Sending it again does not help. */
  MALFORMED = 11
  /** Too many uploads at a time, or no room: wait and try again. */
  BUSY = 12
  /** The server is at fault, or going down: wait and try again. */
  UNAVAILABLE = 13
}

exception Refusal {
  1: RefusalCode code
  /** What is wrong, where, and what to do; for people. */
  2: string message
  /** Whether the same call may succeed later. */
  3: bool retryable
  /** Where it may, how long to wait. */
  4: i32 retryAfterMillis
}

struct Hello {
  1: i32 protocol
  /** Names the process: random, up to 64 characters, the same when it joins
   * again after a lost connection. */
  2: string process
  /** The clients that the process hosts, at least one. */
  3: list<i64> clients
  /** The token of these clients; empty where certificates are used, or none. */
  4: string token
  /** For the server's log: "fedlb 0.1.0". */
  5: string software
  6: Checksum checksum
}

struct Welcome {
  1: i32 protocol
  /** The same for a run and all its continuations. */
  2: string runId
  /** The run's settings, as TOML. `Work` says all that a client needs where
   * client_algorithm and compressor are "none", the mapper's scope is "server",
   * and model.label_smoothing is 0; other methods want more of a client, and
   * the server drops an update that lacks what they add. */
  3: string settings
  /** SHA-256 of `runId`, a newline and `settings`, 64 hex digits. */
  4: string settingsDigest
  /** Clients of the federation, numbered from 0, and rounds of the run. */
  5: i64 numClients
  6: i64 numRounds
  /** A process that is silent for three times this long counts as lost. */
  7: i32 heartbeatMillis
  8: i64 maxUpdateBytes
}

enum WorkKind {
  /** The mean gradient over the next `batchSize` examples of the client. */
  GRADIENT = 1
  /** Optimizer steps from the task's weights; the answer is a delta. */
  LOCAL_STEPS = 2
  /** For a teacher: see fedlb's round_task.h. A client may answer `fail`. */
  DISPLACEMENT = 3
}

/** For a first look, before the task is fetched: the task's metadata say the
 * same and have a checksum. */
struct Work {
  1: WorkKind kind
  /** With LOCAL_STEPS one of the two is positive: steps, or passes over the
   * client's examples. */
  2: i64 localSteps
  3: double localEpochs
  /** Learning rate of the local steps. */
  4: double lr
  /** With 0 or more, a client that keeps weights of its own since that round
   * goes on from them; see fedlb's round_task.h. */
  5: i64 baseRound
}

struct Assignment {
  1: i64 client
  2: i64 batchSize
}

/** The newest of a client's updates that counts. */
struct Acknowledgement {
  1: i64 client
  2: i64 task
}

enum NoticeKind {
  /** Nothing to do yet. Poll again. */
  WAIT = 1
  TASK = 2
  /** The run is over. Leave. */
  FINISHED = 3
}

struct Notice {
  1: NoticeKind kind
  /** Grows with time. A server that was restarted from a checkpoint gives the
   * numbers out again, for the same work. */
  2: i64 task
  3: i64 round
  4: Work work
  /** Which of the process's clients are to do it, each once. */
  5: list<Assignment> assignments
  /** Length of what fetch gives. */
  6: i64 taskBytes
  /** Until updates come too late; 0 for no deadline. */
  7: i64 millisLeft
  8: list<Acknowledgement> acknowledgements
  /** The server may ask again for this task and later ones, and for none
   * before. */
  9: i64 firstUndurableTask
  /** With FINISHED: what ended the run when it was not its last round. */
  10: string reason
  /** Of the decimal numbers kind, task, round, taskBytes; client and batchSize
   * of each assignment; client and task of each acknowledgement;
   * firstUndurableTask; joined by single spaces. A client that does not find it
   * joins again. Without TLS nothing else shows that a bit was flipped. */
  11: i64 checksum
}

struct Chunk {
  1: binary data
  /** Of `data` and its place, of the kind that the client asked for. A place is
   * the CRC-32 of the decimal numbers task and offset, or, in putChunk, client,
   * task and offset, joined by single spaces: "3 1024 0". CRC32 goes on from it
   * over `data`, as crc32(place, data) does in zlib; XXH3 has it as its seed.
   * So a chunk of another place is noticed, too. */
  2: i64 checksum
}

struct Upload {
  1: i64 client
  2: i64 task
  /** Of the whole update. */
  3: i64 bytes
  /** Tells this update from any other that the client may announce for the
   * task: a checksum of its bytes, for one. */
  4: i64 identity
}

service Federation {
  /** First on every connection. */
  Welcome join(1: Hello hello) throws (1: Refusal refusal)

  /** Returns when there is something to do, and otherwise after `waitMillis`
   * (up to the heartbeat). A process that polls has nothing in hand: a task
   * that it was given and has not answered is given to it again. */
  Notice poll(1: i32 waitMillis) throws (1: Refusal refusal)

  /** Bytes of a task from `offset` on, up to `length`. */
  Chunk fetch(1: i64 task, 2: i64 offset, 3: i32 length)
      throws (1: Refusal refusal)

  /** Announces an update, or asks how far the same one has come. Returns the
   * offset of the next chunk. */
  i64 beginUpload(1: Upload upload) throws (1: Refusal refusal)

  /** Returns the offset of the next chunk. A chunk that was received before
   * changes nothing. */
  i64 putChunk(1: i64 client, 2: i64 task, 3: i64 offset, 4: Chunk chunk)
      throws (1: Refusal refusal)

  /** The update is complete. When this returns it has been read and takes part
   * in the round; whether it passes the server's checks shows in a later
   * acknowledgement. */
  void commit(1: i64 client, 2: i64 task) throws (1: Refusal refusal)

  /** The client cannot do the task: the round goes on without it. */
  void fail(1: i64 client, 2: i64 task, 3: bool diverged, 4: string cause)
      throws (1: Refusal refusal)

  /** For a process at work, so that it does not count as lost. */
  void heartbeat() throws (1: Refusal refusal)

  /** Answers `length` bytes: a measurement of the connection. */
  binary echo(1: binary payload, 2: i32 length) throws (1: Refusal refusal)

  /** The process goes; its clients' open tasks are closed. */
  void leave() throws (1: Refusal refusal)
}
