#include "thrift/coordinator.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "fedlb/status.h"
#include "thrift/refusal.h"

namespace fedlb::thrift {
namespace {

// Tasks are numbered round by round, so that a restarted server gives the same
// task the same number.
constexpr int64_t kTasksPerRound = 1024;

// How long a call waits for one of the places for uploads.
constexpr std::chrono::seconds kPlaceWait(5);

// Silence ends the wait for processes, too, and wakes nobody.
constexpr std::chrono::milliseconds kEndPeriod(100);

// A signal handler cannot wake the round loop.
constexpr std::chrono::milliseconds kStopPeriod(100);

absl::Status TaskIsOver(int64_t client, int64_t task) {
  return Refusal(Refused::kTaskClosed,
                 absl::StrCat("task ", task, " is over for client ", client));
}

}  // namespace

struct Coordinator::Answer {
  enum class State {
    kOpen,        // the client has not sent it, or not all of it
    kDelivering,  // a thread reads it
    kSpilled,     // complete, on disk until its turn
    kClosed,      // with the sink, or dropped
    kLate,        // like kOpen, after the round
    kLateKept,    // complete, for the next round that is applied
  };

  Answer(std::shared_ptr<const SentTask> of_task, ClientAssignment to,
         int64_t at)
      : task(std::move(of_task)), assignment(to), slot(at) {}

  const std::shared_ptr<const SentTask> task;
  const ClientAssignment assignment;
  const int64_t slot;
  State state = State::kOpen;
  bool delivered = false;  // to the sink, and not dropped

  // Nothing more is needed from the client.
  bool IsComplete() const {
    return delivered || state == State::kSpilled || state == State::kLateKept;
  }

  std::shared_ptr<Upload> upload;
  std::optional<SpilledUpload> spilled;
  std::optional<Update> late;
  AnswerTimes times;
};

struct Coordinator::OpenRound {
  std::shared_ptr<const SentTask> task;
  UpdateSink* sink = nullptr;
  std::vector<std::shared_ptr<Answer>> answers;  // by slot
  Clock::time_point start;
  bool on_clock = false;
  std::optional<Clock::time_point> deadline;
};

Coordinator::Coordinator(FederationTerms terms,
                         const CoordinatorOptions& options, Logger& logger)
    : terms_(std::move(terms)),
      options_(options),
      logger_(logger),
      roster_(options.heartbeat_seconds, options.join_seconds, logger),
      times_(terms_.deadline_seconds),
      next_round_durable_(terms_.next_round) {}

Coordinator::~Coordinator() = default;

absl::StatusOr<SessionPtr> Coordinator::Join(
    const std::string& process, const std::vector<int64_t>& clients,
    const std::string& peer) {
  for (const int64_t client : clients) {
    if (client < 0 || client >= terms_.num_clients) {
      return Refusal(Refused::kUnknownClient,
                     absl::StrCat("client ", client,
                                  ": the federation has the clients 0 to ",
                                  terms_.num_clients - 1));
    }
  }
  Lock lock(mutex_);
  SessionPtr session = roster_.Join(process, clients, peer);
  round_changed_.notify_all();
  return session;
}

absl::StatusOr<PollAnswer> Coordinator::Poll(const SessionPtr& session,
                                             Clock::duration wait) {
  Lock lock(mutex_);
  const CallScope call(*session, lock);
  const Clock::time_point until =
      Clock::now() + std::min(wait, Seconds(options_.heartbeat_seconds));
  for (;;) {
    FEDLB_RETURN_IF_ERROR(session->Check());
    PollAnswer answer = AnswerPoll(*session);
    if (answer.task != nullptr || answer.finished || Clock::now() >= until) {
      return answer;
    }
    session->news.wait_until(lock, until);
  }
}

PollAnswer Coordinator::AnswerPoll(Session& session) {
  PollAnswer answer;
  answer.first_undurable_task = next_round_durable_ * kTasksPerRound;
  for (const int64_t client : session.clients) {
    const auto applied = applied_.find(client);
    if (applied != applied_.end()) {
      answer.acknowledgements.emplace_back(client, applied->second);
    }
  }
  if (finished_) {
    answer.finished = true;
    answer.reason = reason_;
    session.told_end = Clock::now();
    return answer;
  }
  if (round_ == nullptr) {
    return answer;
  }
  const Clock::time_point now = Clock::now();
  for (const int64_t client : session.clients) {
    const auto found = answers_.find({round_->task->id, client});
    if (found != answers_.end() &&
        found->second->state == Answer::State::kOpen) {
      answer.assignments.push_back(found->second->assignment);
      found->second->times.handed = now;
    }
  }
  if (!answer.assignments.empty()) {
    answer.task = round_->task;
    if (round_->deadline.has_value()) {
      answer.time_left = *round_->deadline - now;
    }
  }
  return answer;
}

absl::StatusOr<std::shared_ptr<Coordinator::Answer>> Coordinator::FindAnswer(
    Session& session, int64_t client, int64_t task) const {
  FEDLB_RETURN_IF_ERROR(session.Check());
  if (std::find(session.clients.begin(), session.clients.end(), client) ==
      session.clients.end()) {
    return Refusal(Refused::kForbidden,
                   absl::StrCat("client ", client,
                                " is not one that this process joined with"));
  }
  const auto found = answers_.find({task, client});
  if (found == answers_.end()) {
    return Refusal(
        Refused::kTaskClosed,
        absl::StrCat("task ", task, " is not open for client ", client,
                     last_task_ < 0
                         ? std::string(": none has begun")
                         : absl::StrCat(": the newest is ", last_task_)));
  }
  return found->second;
}

absl::StatusOr<std::shared_ptr<const SentTask>> Coordinator::FindTask(
    const SessionPtr& session, int64_t task) {
  Lock lock(mutex_);
  const CallScope call(*session, lock);
  FEDLB_RETURN_IF_ERROR(session->Check());
  std::shared_ptr<const SentTask> sent;
  for (const int64_t client : session->clients) {
    const auto found = answers_.find({task, client});
    if (found != answers_.end()) {
      sent = found->second->task;
    }
  }
  if (sent == nullptr) {
    return Refusal(Refused::kTaskClosed,
                   absl::StrCat("task ", task, " is not open"));
  }
  return sent;
}

void Coordinator::NoteFetched(const SessionPtr& session, int64_t task) {
  const Lock lock(mutex_);
  for (const int64_t client : session->clients) {
    const auto found = answers_.find({task, client});
    if (found != answers_.end()) {
      found->second->times.fetched = Clock::now();
    }
  }
}

absl::Status Coordinator::TakeUploadPlace(Lock& lock) {
  const auto is_free = [this] { return num_uploads_ < options_.uploads; };
  if (!place_free_.wait_for(lock, kPlaceWait, is_free)) {
    return Refusal(Refused::kBusy,
                   absl::StrCat("the server receives ", options_.uploads,
                                " updates at a time"));
  }
  ++num_uploads_;
  return absl::OkStatus();
}

void Coordinator::ReleasePlace() {
  --num_uploads_;
  place_free_.notify_one();
}

void Coordinator::ReleaseUpload(Answer& answer) {
  if (answer.upload != nullptr) {
    answer.upload = nullptr;
    ReleasePlace();
  }
}

absl::StatusOr<int64_t> Coordinator::BeginUpload(const SessionPtr& session,
                                                 int64_t client, int64_t task,
                                                 int64_t bytes,
                                                 int64_t identity) {
  if (bytes < 1 || bytes > options_.max_update_bytes) {
    return Refusal(
        Refused::kTooLarge,
        absl::StrCat("an update of ", bytes, " bytes; the server takes up to ",
                     options_.max_update_bytes,
                     ", which transport.max_update_bytes sets"));
  }
  Lock lock(mutex_);
  const CallScope call(*session, lock);
  FEDLB_ASSIGN_OR_RETURN(std::shared_ptr<Answer> answer,
                         FindAnswer(*session, client, task));
  const auto is_open = [&answer] {
    return answer->state == Answer::State::kOpen ||
           answer->state == Answer::State::kLate;
  };
  if (answer->IsComplete()) {
    return bytes;  // announced again after an answer that was lost
  }
  if (is_open() &&
      (answer->upload == nullptr || !answer->upload->Is(bytes, identity))) {
    ReleaseUpload(*answer);
    FEDLB_RETURN_IF_ERROR(TakeUploadPlace(lock));
    if (is_open() && answer->upload == nullptr) {
      answer->upload = std::make_shared<thrift::Upload>(bytes, identity);
      answer->times.announced = Clock::now();
    } else {
      ReleasePlace();
    }
  }
  if (answer->state == Answer::State::kDelivering) {
    return Refusal(Refused::kBusy, "the update is being read");
  }
  if (!is_open()) {
    return TaskIsOver(client, task);
  }
  return answer->upload->received();
}

absl::StatusOr<int64_t> Coordinator::PutChunk(const SessionPtr& session,
                                              int64_t client, int64_t task,
                                              int64_t offset,
                                              absl::string_view chunk) {
  std::shared_ptr<Upload> upload;
  {
    Lock lock(mutex_);
    session->last_seen = Clock::now();
    FEDLB_ASSIGN_OR_RETURN(const std::shared_ptr<Answer> answer,
                           FindAnswer(*session, client, task));
    upload = answer->upload;
    if (upload == nullptr) {
      return answer->state == Answer::State::kClosed
                 ? TaskIsOver(client, task)
                 : Refusal(Refused::kOutOfOrder,
                           "a chunk of an update that was not announced");
    }
  }
  return upload->Put(offset, chunk);
}

absl::Status Coordinator::Commit(const SessionPtr& session, int64_t client,
                                 int64_t task) {
  Lock lock(mutex_);
  const CallScope call(*session, lock);
  const auto applied = applied_.find(client);
  if (applied != applied_.end() && applied->second == task) {
    return absl::OkStatus();
  }
  FEDLB_ASSIGN_OR_RETURN(const std::shared_ptr<Answer> found,
                         FindAnswer(*session, client, task));
  Answer& answer = *found;
  if (answer.IsComplete()) {
    return absl::OkStatus();
  }
  if (answer.state == Answer::State::kDelivering) {
    return Refusal(Refused::kBusy, "the update is being read");
  }
  const bool late = answer.state == Answer::State::kLate;
  if (!late && answer.state != Answer::State::kOpen) {
    return TaskIsOver(client, task);
  }
  if (answer.upload == nullptr) {
    return Refusal(Refused::kOutOfOrder,
                   "the end of an update that was not announced");
  }
  const std::shared_ptr<Upload> upload = answer.upload;
  FEDLB_RETURN_IF_ERROR(upload->CheckComplete());
  answer.state = Answer::State::kDelivering;
  answer.times.committed = Clock::now();
  if (late) {
    lock.unlock();
    absl::StatusOr<Update> update = DecodeUpdate(upload->content());
    lock.lock();
    ReleaseUpload(answer);
    if (!update.ok()) {
      answer.state = Answer::State::kClosed;
      return Refusal(Refused::kMalformed, update.status().message());
    }
    answer.late = *std::move(update);
    answer.state = Answer::State::kLateKept;
    return absl::OkStatus();
  }
  if (!round_->sink->MayAdmit(answer.slot)) {
    return Spill(answer, lock);
  }
  const absl::Status delivered = Deliver(answer, upload->content(), lock);
  ReleaseUpload(answer);
  return delivered;
}

// The answer is kDelivering, so that the round stays open.
absl::Status Coordinator::Deliver(Answer& answer, absl::string_view bytes,
                                  Lock& lock) {
  UpdateSink& sink = *round_->sink;
  lock.unlock();
  absl::StatusOr<Update> update =
      CatchAsStatusOr("reading an update", [&] { return DecodeUpdate(bytes); });
  const absl::Status status = update.status();
  if (status.ok()) {
    sink.Deliver(answer.slot, *std::move(update));
  } else {
    sink.Drop(answer.slot, status);
  }
  lock.lock();
  answer.state = Answer::State::kClosed;
  answer.delivered = status.ok();
  round_changed_.notify_all();
  return status.ok() ? absl::OkStatus()
                     : Refusal(Refused::kMalformed, status.message());
}

absl::Status Coordinator::Spill(Answer& answer, Lock& lock) {
  const std::shared_ptr<Upload> upload = answer.upload;
  lock.unlock();
  absl::StatusOr<SpilledUpload> spilled =
      SpilledUpload::Write(terms_.spill_folder, upload->content());
  lock.lock();
  if (!spilled.ok()) {
    // It is still in memory, and there may be room when the client asks again.
    answer.state = Answer::State::kOpen;
    round_changed_.notify_all();
    logger_.Warning(spilled.status().message());
    return Refusal(Refused::kBusy, "the server has no room for the update");
  }
  answer.spilled = *std::move(spilled);
  answer.state = Answer::State::kSpilled;
  ReleaseUpload(answer);
  round_changed_.notify_all();
  return absl::OkStatus();
}

absl::Status Coordinator::Fail(const SessionPtr& session, int64_t client,
                               int64_t task, const absl::Status& cause) {
  Lock lock(mutex_);
  const CallScope call(*session, lock);
  FEDLB_ASSIGN_OR_RETURN(const std::shared_ptr<Answer> answer,
                         FindAnswer(*session, client, task));
  if (answer->state == Answer::State::kOpen) {
    Drop(*answer, cause, lock);
  } else if (answer->state == Answer::State::kLate) {
    answer->state = Answer::State::kClosed;
  }
  return absl::OkStatus();
}

absl::Status Coordinator::Touch(const SessionPtr& session) {
  const Lock lock(mutex_);
  session->last_seen = Clock::now();
  return session->Check();
}

void Coordinator::Leave(const SessionPtr& session) {
  const Lock lock(mutex_);
  roster_.Leave(session);
  round_changed_.notify_all();
  process_left_.notify_all();
}

absl::Status Coordinator::RunRound(const RoundTask& task,
                                   absl::Span<const ClientAssignment> cohort,
                                   UpdateSink& sink) {
  FEDLB_ASSIGN_OR_RETURN(std::string bytes, EncodeTask(task));

  Lock lock(mutex_);
  last_task_ = std::max(task.round * kTasksPerRound, last_task_ + 1);
  round_ = std::make_unique<OpenRound>();
  OpenRound& round = *round_;
  round.task =
      std::make_shared<const SentTask>(SentTask{.id = last_task_,
                                                .round = task.round,
                                                .work = task.work,
                                                .lr = task.lr,
                                                .bytes = std::move(bytes)});
  round.sink = &sink;
  round.start = Clock::now();
  times_.BeginRound();
  for (size_t slot = 0; slot < cohort.size(); ++slot) {
    auto answer = std::make_shared<Answer>(round.task, cohort[slot],
                                           static_cast<int64_t>(slot));
    answers_[{round.task->id, cohort[slot].client}] = answer;
    round.answers.push_back(std::move(answer));
    roster_.Wake(cohort[slot].client);
  }

  const auto all_closed = [&round] {
    return std::all_of(round.answers.begin(), round.answers.end(),
                       [](const std::shared_ptr<Answer>& answer) {
                         return answer->state == Answer::State::kClosed;
                       });
  };
  bool stopped = false;
  while (!all_closed()) {
    if (!stopped && terms_.stop != nullptr && *terms_.stop != 0) {
      stopped = true;
      sink.Cancel(InterruptedError("stopped while clients were at work"));
      for (const std::shared_ptr<Answer>& answer : round.answers) {
        if (answer->state != Answer::State::kDelivering) {
          answer->state = Answer::State::kClosed;
        }
      }
      continue;
    }
    if (DeliverSpilled(lock)) {
      continue;
    }
    Clock::time_point wake = DropLost(lock);
    if (terms_.stop != nullptr) {
      wake = std::min(wake, Clock::now() + kStopPeriod);
    }
    if (!all_closed()) {
      round_changed_.wait_until(lock, wake);
    }
  }
  CloseRound();
  return absl::OkStatus();
}

bool Coordinator::DeliverSpilled(Lock& lock) {
  for (const std::shared_ptr<Answer>& answer : round_->answers) {
    if (answer->state != Answer::State::kSpilled) {
      continue;
    }
    if (!round_->sink->MayAdmit(answer->slot)) {
      return false;
    }
    answer->state = Answer::State::kDelivering;
    const std::optional<SpilledUpload> spilled =
        std::exchange(answer->spilled, std::nullopt);
    lock.unlock();
    const absl::StatusOr<std::string> bytes = spilled->Read();
    lock.lock();
    if (bytes.ok()) {
      Deliver(*answer, *bytes, lock).IgnoreError();  // the sink knows
    } else {
      Drop(*answer, bytes.status(), lock);
    }
    return true;
  }
  return false;
}

// A deadline is for clients that are there: before its clients have joined, or
// have had their time for that, a round is not on the clock.
void Coordinator::StartClock() {
  OpenRound& round = *round_;
  if (round.on_clock) {
    return;
  }
  const Clock::time_point now = Clock::now();
  round.on_clock =
      roster_.JoinTimeIsOver() ||
      std::all_of(round.answers.begin(), round.answers.end(),
                  [this](const std::shared_ptr<Answer>& answer) {
                    return roster_.HasJoined(answer->assignment.client);
                  });
  if (round.on_clock) {
    round.start = now;
    round.deadline = times_.Deadline(now);
  }
}

Clock::time_point Coordinator::DropLost(Lock& lock) {
  StartClock();
  const OpenRound& round = *round_;
  Clock::time_point wake = Clock::now() + std::chrono::hours(1);
  if (round.deadline.has_value()) {
    wake = std::min(wake, *round.deadline);
  }
  for (const std::shared_ptr<Answer>& answer : round.answers) {
    if (answer->state != Answer::State::kOpen) {
      continue;
    }
    const Clock::time_point now = Clock::now();
    const int64_t client = answer->assignment.client;
    const std::optional<Clock::time_point> loss = roster_.LossTime(client);
    if (round.deadline.has_value() && now >= *round.deadline) {
      Drop(*answer,
           DeadlineError(absl::StrFormat(
               "client %d did not answer within the deadline of %.3g s", client,
               SecondsBetween(round.start, *round.deadline))),
           lock);
    } else if (loss.has_value() && now >= *loss) {
      Drop(*answer,
           PeerLostError(
               absl::StrCat("client ", client, " ", roster_.AbsenceOf(client))),
           lock);
    } else if (loss.has_value()) {
      wake = std::min(wake, *loss);
    } else {
      // A call under way may end at any time.
      wake = std::min(wake, now + Seconds(options_.heartbeat_seconds));
    }
  }
  return wake;
}

void Coordinator::Drop(Answer& answer, absl::Status cause, Lock& lock) {
  answer.state = Answer::State::kDelivering;
  UpdateSink& sink = *round_->sink;
  lock.unlock();
  sink.Drop(answer.slot, std::move(cause));
  lock.lock();
  answer.state = Answer::State::kClosed;
  ReleaseUpload(answer);
  round_changed_.notify_all();
}

// Forgets the round's answers, but for those that may come late.
void Coordinator::CloseRound() {
  const OpenRound& round = *round_;
  counts_in_round_.clear();
  for (const std::shared_ptr<Answer>& answer : round.answers) {
    const AnswerKey key(round.task->id, answer->assignment.client);
    if (answer->delivered) {
      counts_in_round_[key.second] = key.first;
      times_.Add(round.start, answer->times);
    }
    const bool may_be_late =
        !answer->delivered && terms_.staleness_bound > 0 &&
        round.task->work.kind != RoundWork::Kind::kDisplacement;
    ReleaseUpload(*answer);
    if (may_be_late) {
      answer->state = Answer::State::kLate;
    } else {
      answers_.erase(key);
    }
  }
  round_ = nullptr;
}

void Coordinator::DeliverLate(int64_t round, UpdateSink& sink) {
  std::vector<std::pair<int64_t, Update>> late;  // staleness first
  {
    const Lock lock(mutex_);
    for (auto it = answers_.begin(); it != answers_.end();) {
      Answer& answer = *it->second;
      const int64_t staleness = round - answer.task->round;
      const int64_t client = it->first.second;
      // A client that has answered the newer task has nothing left to say.
      const bool stale = staleness > terms_.staleness_bound ||
                         counts_in_round_.contains(client);
      const bool kept = answer.state == Answer::State::kLateKept;
      if (kept && !stale && staleness > 0) {
        counts_in_round_[client] = it->first.first;
        late.emplace_back(staleness, *std::move(answer.late));
      } else if (!stale && answer.state != Answer::State::kClosed) {
        ++it;
        continue;
      }
      ReleaseUpload(answer);
      it = answers_.erase(it);
    }
  }
  for (auto& [staleness, update] : late) {
    sink.DeliverLate(staleness, std::move(update));
  }
}

void Coordinator::RoundApplied(int64_t round,
                               absl::Span<const int64_t> clients) {
  const Lock lock(mutex_);
  for (const int64_t client : clients) {
    const auto counted = counts_in_round_.find(client);
    applied_[client] =
        counted != counts_in_round_.end() ? counted->second : last_task_;
  }
  // A task of the round after must not have a number of this one.
  last_task_ = std::max(last_task_, (round + 1) * kTasksPerRound - 1);
}

void Coordinator::CheckpointWritten(int64_t next_round) {
  const Lock lock(mutex_);
  next_round_durable_ = next_round;
}

RoundPhases Coordinator::phases() const {
  const Lock lock(mutex_);
  return times_.phases();
}

std::map<int64_t, int64_t> Coordinator::applied() const {
  const Lock lock(mutex_);
  return applied_;
}

void Coordinator::set_applied(std::map<int64_t, int64_t> applied) {
  const Lock lock(mutex_);
  applied_ = std::move(applied);
}

void Coordinator::Finish(const std::string& reason, Clock::duration patience) {
  Lock lock(mutex_);
  finished_ = true;
  reason_ = reason;
  roster_.WakeAll();
  const Clock::time_point until = Clock::now() + patience;
  while (!roster_.AllKnowTheEnd() && Clock::now() < until) {
    process_left_.wait_until(lock, std::min(until, Clock::now() + kEndPeriod));
  }
}

}  // namespace fedlb::thrift
