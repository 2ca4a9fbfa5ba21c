#include "profile/noise_probe.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "gradient_noise.h"
#include "round_runner.h"
#include "run_state.h"
#include "stopwatch.h"

namespace fedlb {
namespace {

constexpr int64_t kNoiseClients = 8;
// More clients than so many are only taken if they have whole batches.
constexpr int64_t kEnoughClients = 2;
// A lone client's examples are dealt out as if to so many.
constexpr size_t kShardsOfOne = 4;
// Of the averages over rounds: the noise grows as training goes on, and the
// newest rounds are what a run spends most of its time in.
constexpr double kSmoothing = 0.9;
constexpr double kMaxSeconds = 60;

std::vector<int64_t> Shuffled(std::vector<int64_t> examples,
                              const ComponentContext& context) {
  RandomStream({.seed = context.seed, .purpose = "noise_halves"})
      .Shuffle(absl::MakeSpan(examples));
  return examples;
}

// `examples` dealt out in turn.
std::vector<std::vector<int64_t>> Deal(const std::vector<int64_t>& examples,
                                       size_t parts) {
  std::vector<std::vector<int64_t>> dealt(parts);
  for (size_t i = 0; i < examples.size(); ++i) {
    dealt[i % parts].push_back(examples[i]);
  }
  return dealt;
}

// Two halves of each client that takes part.
absl::StatusOr<Partition> HalveClients(const Federation& f,
                                       int64_t batch_size) {
  Partition clients;
  if (f.partition.size() == 1) {
    clients = Deal(Shuffled(f.partition[0], f.context), kShardsOfOne);
  } else {
    FEDLB_ASSIGN_OR_RETURN(const std::vector<ClientAssignment> cohort,
                           f.Cohort(0));
    for (const ClientAssignment& assignment : cohort) {
      clients.push_back(f.partition[static_cast<size_t>(assignment.client)]);
    }
  }
  // Those with most: the smallest one decides over the batch size of all.
  std::stable_sort(
      clients.begin(), clients.end(),
      [](const auto& a, const auto& b) { return a.size() > b.size(); });
  const size_t whole_batches = 2 * static_cast<size_t>(batch_size);
  Partition halves;
  for (const std::vector<int64_t>& examples : clients) {
    const bool enough =
        static_cast<int64_t>(halves.size()) >= 2 * kEnoughClients;
    if (examples.size() < (enough ? whole_batches : 2) ||
        static_cast<int64_t>(halves.size()) == 2 * kNoiseClients) {
      continue;
    }
    for (std::vector<int64_t>& half : Deal(Shuffled(examples, f.context), 2)) {
      halves.push_back(std::move(half));
    }
  }
  if (halves.empty()) {
    return ConfigError(
        "no client of the first round has two examples, which the gradient "
        "noise is measured with; use fewer clients, or --noise-rounds 0");
  }
  return halves;
}

// Begins a new epoch where the one that a client is in would end in a short
// batch.
void StartEpochs(Federation& f, const std::vector<ClientAssignment>& cohort) {
  ClientStateStore& states = f.host->states();
  for (const ClientAssignment& assignment : cohort) {
    ClientState state = states.Get(assignment.client);
    const int64_t examples =
        f.num_examples[static_cast<size_t>(assignment.client)];
    if (examples - state.cursor < assignment.batch_size) {
      ++state.epoch;
      state.cursor = 0;
      states.Stage(assignment.client, std::move(state));
    }
  }
  states.Commit();
}

using ClientNoise = PairedNoiseObserver::ClientNoise;

}  // namespace

void PairedNoiseObserver::Begin(const TensorLayout& layout) {
  num_pairs_ = 0;
  first_slot_ = -1;
  first_.clear();
  sum_.clear();
  squares_.assign(layout.size(), 0);
  differences_.assign(layout.size(), 0);
}

void PairedNoiseObserver::Add(int64_t slot, const Update& update) {
  if (slot % 2 == 0) {
    first_slot_ = slot;
    first_ = update.parameters();
    return;
  }
  if (first_slot_ != slot - 1) {
    return;  // the first of the pair was dropped
  }
  for (size_t i = 0; i < first_.size(); ++i) {
    const at::Tensor& second = update.parameters()[i];
    squares_[i] += SquaredNorm({first_[i]}) + SquaredNorm({second});
    differences_[i] += SquaredNorm({first_[i].sub(second)});
  }
  if (sum_.empty()) {
    sum_ = ZerosLike(first_);
  }
  AddScaled(first_, 1, sum_);
  AddScaled(update.parameters(), 1, sum_);
  batch_size_ = static_cast<double>(update.num_examples);
  ++num_pairs_;
  first_.clear();
}

std::vector<ClientNoise> PairedNoiseObserver::Estimates() const {
  // With m_k the mean of client k's two gradients, whose noise is
  // tr(Sigma) / 2 b: E |g - g'|^2 = 2 tr(Sigma) / b, and
  // 4 |m_k|^2 = 2 |g|^2 + 2 |g'|^2 - |g - g'|^2.
  const auto clients = static_cast<double>(num_pairs_);
  std::vector<ClientNoise> estimates(sum_.size());
  for (size_t i = 0; i < sum_.size(); ++i) {
    ClientNoise& e = estimates[i];
    e.variance = batch_size_ * differences_[i] / (2 * clients);
    const double noise_of_mean = e.variance / (2 * batch_size_);
    const double square_of_mean =
        SquaredNorm({sum_[i]}) / (4 * clients * clients);
    double spread = noise_of_mean;  // of the m_k
    if (num_pairs_ > 1) {
      const double squares = (2 * squares_[i] - differences_[i]) / 4;
      spread = (squares - clients * square_of_mean) / (clients - 1);
      e.drift = spread - noise_of_mean;
    }
    e.signal = square_of_mean - spread / clients;
  }
  return estimates;
}

double PairedNoiseObserver::Norm() const {
  return std::sqrt(std::accumulate(squares_.begin(), squares_.end(), 0.0) /
                   (2 * static_cast<double>(num_pairs_)));
}

double PairedNoiseObserver::NormOfMean() const {
  return std::sqrt(SquaredNorm(sum_)) / (2 * static_cast<double>(num_pairs_));
}

absl::StatusOr<NoiseProfile> ProfileNoise(Federation& f,
                                          const ProfileOptions& options) {
  NoiseProfile profile;
  FEDLB_ASSIGN_OR_RETURN(const std::vector<ClientAssignment> planned,
                         f.Cohort(0));
  FEDLB_ASSIGN_OR_RETURN(f.partition, HalveClients(f, planned[0].batch_size));
  f.num_examples.clear();
  profile.batch_size = planned[0].batch_size;
  for (const std::vector<int64_t>& examples : f.partition) {
    f.num_examples.push_back(static_cast<int64_t>(examples.size()));
    // One size for all, and full batches only.
    profile.batch_size = std::min(profile.batch_size, f.num_examples.back());
  }
  f.config.federation.min_cohort = 1;
  f.clock = VirtualClock();
  f.environment.stop = options.stop;
  FEDLB_RETURN_IF_ERROR(Annotate(f.transport->Open(*f.host), "[transport]"));
  FEDLB_RETURN_IF_ERROR(
      Annotate(f.gradient_mapper->WarmStart(), "[gradient_mapper]"));
  std::vector<ClientAssignment> cohort;
  for (size_t i = 0; i < f.partition.size(); ++i) {
    cohort.push_back({static_cast<int64_t>(i), profile.batch_size});
  }
  profile.num_clients = static_cast<int64_t>(cohort.size()) / 2;

  RunState state(f);
  RoundRunner runner(f, state);
  PairedNoiseObserver pairs;
  runner.AddObserver(pairs);
  std::vector<NoiseAverage> by_tensor(f.model->parameter_layout().size(),
                                      NoiseAverage(kSmoothing));
  NoiseAverage within(kSmoothing);
  NoiseAverage between(kSmoothing);  // the drift in the place of the variance
  Stopwatch watch;
  double seconds = 0;
  for (int64_t round = 0; round < options.noise_rounds; ++round) {
    if (options.on_progress) {
      options.on_progress(round + 1, options.noise_rounds, "gradient noise");
    }
    StartEpochs(f, cohort);
    seconds += watch.Lap();
    if (seconds > kMaxSeconds) {
      f.logger->Warning(absl::StrFormat(
          "the gradient noise was measured over %d of %d rounds, for which "
          "%g s were enough",
          round, options.noise_rounds, kMaxSeconds));
      break;
    }
    const absl::Status ran =
        runner.Run({.kind = RoundWork::Kind::kGradient}, cohort).status();
    if (FailureOf(ran) == Failure::kDiverged && round > 0) {
      f.logger->Warning(absl::StrCat("the gradient noise was measured over ",
                                     round, " rounds only: ", ran.message()));
      break;
    }
    FEDLB_RETURN_IF_ERROR(ran);
    if (pairs.num_clients() == 0) {
      continue;  // all were dropped
    }
    const std::vector<ClientNoise> estimates = pairs.Estimates();
    ClientNoise sum;
    for (size_t i = 0; i < estimates.size(); ++i) {
      by_tensor[i].Add({estimates[i].signal, estimates[i].variance});
      sum.signal += estimates[i].signal;
      sum.variance += estimates[i].variance;
      sum.drift += estimates[i].drift;
    }
    within.Add({sum.signal, sum.variance});
    between.Add({sum.signal, sum.drift});
    profile.curve.push_back({.round = round,
                             .small_norm = pairs.Norm(),
                             .large_norm = pairs.NormOfMean(),
                             .noise_scale = within.noise_scale()});
  }
  profile.rounds = static_cast<int64_t>(profile.curve.size());
  profile.noise_scale = within.noise_scale();
  profile.drift_share = between.noise_scale();
  for (size_t i = 0; i < by_tensor.size(); ++i) {
    profile.layers.push_back(
        {f.model->parameter_layout()[i].name, by_tensor[i].noise_scale()});
  }
  return profile;
}

}  // namespace fedlb
