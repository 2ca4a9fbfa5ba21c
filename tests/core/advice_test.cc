#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "fedlb/profile.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "gtest/gtest.h"

namespace fedlb {
namespace {

// A device whose step takes a + s b seconds and m + n b bytes.
DeviceProfile Device(double a, double s) {
  DeviceProfile profile;
  profile.model = "cnn";
  profile.device = "cpu: one";
  profile.client_examples = 10000;
  profile.largest_safe_batch = 1024;
  profile.largest_safe_is_limit = true;
  for (int64_t b = 1; b <= 1024; b *= 2) {
    profile.points.push_back({.batch_size = b,
                              .memory_bytes = 1000000 + 1000 * b,
                              .num_timed = 3,
                              .step_seconds = a + s * static_cast<double>(b)});
  }
  return profile;
}

BatchAdvice Advise(const DeviceProfile& profile) {
  return *AdviseBatch(profile, *ProfileModels::Fit(profile));
}

// Per example a / b + s: doubling b saves a / 2 b of it, less than 5 % from
// a / 2 b < 0.05 (a / b + s) on, that is from b > 9 a / s.
TEST(AdviceTest, WithoutNoiseDiminishingReturnsDecide) {
  const BatchAdvice advice = Advise(Device(1e-3, 1e-4));
  EXPECT_GE(advice.diminishing_from, 90);
  EXPECT_LE(advice.diminishing_from, 104);  // the next on the grid
  EXPECT_EQ(advice.batch_size, advice.diminishing_from);
  EXPECT_TRUE(std::isnan(advice.noise_scale));
}

// The time to a target is proportional to (a / b + s) (phi + b), which is least
// at b = sqrt(a phi / s): 100 for a / s = 10 and phi = 1000. Within 2 % of the
// best is enough, which lets smaller ones pass:
// (10 / b + 1) (1000 + b) is 1230 at b = 64, below 1210 / 0.98 = 1235.
TEST(AdviceTest, TimeToTargetBalancesSpeedAndNoise) {
  DeviceProfile profile = Device(1e-3, 1e-4);
  profile.noise.rounds = 10;
  profile.noise.noise_scale = 1000;
  const BatchAdvice advice = Advise(profile);
  EXPECT_EQ(advice.batch_size, 64);
  EXPECT_NE(advice.reason.find("the noise scale is 1e+03"), std::string::npos)
      << advice.reason;
  // With ten batches in a step, phi / 10: b = sqrt(10 * 100) = 31.6.
  profile.batches_per_step = 10;
  EXPECT_LT(Advise(profile).batch_size, 32);
  EXPECT_GT(Advise(profile).batch_size, 20);
}

TEST(AdviceTest, MemoryAndExamplesBoundTheAdvice) {
  DeviceProfile profile = Device(1, 1e-6);  // the larger the better
  profile.largest_safe_batch = 300;
  profile.largest_safe_is_limit = false;
  EXPECT_EQ(Advise(profile).batch_size, 300);
  EXPECT_NE(Advise(profile).reason.find("memory allows no more"),
            std::string::npos);
  profile.client_examples = 90;
  EXPECT_EQ(Advise(profile).batch_size, 90);
  profile.largest_safe_batch = 0;
  EXPECT_EQ(
      FailureOf(AdviseBatch(profile, *ProfileModels::Fit(profile)).status()),
      Failure::kOutOfMemory);
}

TEST(AdviceTest, AnEpochIsAllBatchesOfAClient) {
  const DeviceProfile profile = Device(1e-3, 1e-4);
  const ProfileModels models = *ProfileModels::Fit(profile);
  const BatchPrediction prediction = Predict(profile, models, 300);
  EXPECT_NEAR(prediction.step_seconds.value, 0.031, 1e-9);
  EXPECT_NEAR(prediction.epoch_seconds.value, 34 * 0.031, 1e-8);
  EXPECT_NEAR(prediction.memory_bytes.value, 1300000, 1);
  EXPECT_TRUE(prediction.refusal.empty());
  const BatchPrediction beyond = Predict(profile, models, 5000);
  EXPECT_TRUE(std::isnan(beyond.memory_bytes.value));
  EXPECT_TRUE(std::isnan(beyond.epoch_seconds.value));
  EXPECT_FALSE(beyond.refusal.empty());
}

TEST(AdviceTest, AnEvaluationIsPartOfTheMemory) {
  DeviceProfile profile = Device(1e-3, 1e-4);
  profile.evaluation_bytes = 1100000;
  for (ProfilePoint& point : profile.points) {
    point.process_bytes = point.memory_bytes + 5000000;
  }
  const ProfileModels models = *ProfileModels::Fit(profile);
  EXPECT_EQ(Predict(profile, models, 8).memory_bytes.value, 1100000);
  EXPECT_NEAR(Predict(profile, models, 8).process_bytes.value, 6100000, 1);
  EXPECT_NEAR(Predict(profile, models, 300).memory_bytes.value, 1300000, 1);
  EXPECT_NEAR(Predict(profile, models, 300).process_bytes.value, 6300000, 1);
}

// 210 examples over speeds 4 : 2 : 1: 120, 60 and 30, each done after 120 of
// the fastest one's examples. 70 each would take the slowest as long as 280.
TEST(BatchSplitTest, DevicesFinishTogether) {
  const std::vector<DeviceProfile> devices = {Device(0, 1e-4), Device(0, 2e-4),
                                              Device(0, 4e-4)};
  const auto split = SplitBatch(devices, 210);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ(split->shares[0].batch_size, 120);
  EXPECT_EQ(split->shares[1].batch_size, 60);
  EXPECT_EQ(split->shares[2].batch_size, 30);
  EXPECT_NEAR(split->step_seconds, 120e-4, 1e-9);
  EXPECT_NEAR(split->equal_step_seconds, 280e-4, 1e-9);
  EXPECT_NEAR(split->shares[1].weight, 60.0 / 210, 1e-12);
  EXPECT_GE(split->deadline_seconds, split->step_seconds);
  const std::string toml = PrintAdvice(*split);
  EXPECT_NE(toml.find("clients = 3"), std::string::npos);
  EXPECT_NE(toml.find("batch_sizes = [120, 60, 30]"), std::string::npos);
  EXPECT_NE(toml.find("samples_per_second = [10000, 5000, 2500]"),
            std::string::npos)
      << toml;
}

TEST(BatchSplitTest, MemoryPushesExamplesToTheOthers) {
  std::vector<DeviceProfile> devices = {Device(0, 1e-4), Device(0, 2e-4),
                                        Device(0, 4e-4)};
  devices[0].largest_safe_batch = 60;
  const auto split = SplitBatch(devices, 210);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ(split->shares[0].batch_size, 60);
  EXPECT_EQ(split->shares[1].batch_size, 100);
  EXPECT_EQ(split->shares[2].batch_size, 50);
  EXPECT_TRUE(std::isnan(split->equal_step_seconds));  // 70 is too much for one
  devices[1].largest_safe_batch = devices[2].largest_safe_batch = 60;
  EXPECT_EQ(FailureOf(SplitBatch(devices, 210).status()),
            Failure::kOutOfMemory);
}

// The first measurements were disturbed, less and less.
TEST(BatchSplitTest, ASlowSmallBatchPushesNobodyToALargerOne) {
  std::vector<DeviceProfile> devices = {Device(1e-3, 1e-7), Device(2e-3, 2e-7),
                                        Device(4e-3, 4e-7)};
  const auto calm = SplitBatch(devices, 96);
  for (DeviceProfile& device : devices) {
    for (size_t i = 0; i < 4; ++i) {
      device.points[i].step_seconds *= 5 - static_cast<double>(i);
    }
  }
  const auto split = SplitBatch(devices, 96);
  ASSERT_TRUE(calm.ok() && split.ok()) << split.status();
  EXPECT_LE(split->step_seconds, split->equal_step_seconds);
  EXPECT_NEAR(split->step_seconds, calm->step_seconds,
              0.01 * calm->step_seconds);
}

TEST(BatchSplitTest, RefusesWhatDoesNotBelongTogether) {
  std::vector<DeviceProfile> devices = {Device(0, 1e-4), Device(0, 2e-4)};
  EXPECT_EQ(FailureOf(SplitBatch(devices, 1).status()), Failure::kUsage);
  devices[1].model = "mlp";
  EXPECT_EQ(FailureOf(SplitBatch(devices, 64).status()), Failure::kInputFile);
  devices[1] = Device(0, 1e-4);
  for (ProfilePoint& point : devices[1].points) {
    point.num_timed = 0;
  }
  EXPECT_NE(SplitBatch(devices, 64).status().message().find("no times"),
            std::string::npos);
}

// 1 MB over 10 MB/s with 5 ms: a star of 10 takes 0.01 + 10 * 2 MB / 10 MB/s, a
// ring 18 * (0.005 + 0.1 MB / 10 MB/s).
TEST(CommunicationTest, StarsAndRings) {
  const auto times = PredictCommunication(
      1000000, {.latency_seconds = 0.005, .bytes_per_second = 1e7}, 1, 0.27);
  ASSERT_EQ(times.size(), 7U);
  EXPECT_EQ(times[0].clients, 1);
  EXPECT_NEAR(times[0].star_seconds, 0.21, 1e-12);
  EXPECT_EQ(times[0].ring_seconds, 0);
  EXPECT_EQ(times[1].clients, 10);
  EXPECT_NEAR(times[1].star_seconds, 2.01, 1e-12);
  EXPECT_NEAR(times[1].ring_seconds, 0.27, 1e-12);
  EXPECT_NEAR(times[1].ring_share, 0.5, 1e-12);
  EXPECT_EQ(times[6].clients, 1000000);
  // Only what clients send is compressed.
  const auto compressed = PredictCommunication(
      1000000, {.latency_seconds = 0.005, .bytes_per_second = 1e7}, 100, 0.27);
  EXPECT_NEAR(compressed[1].star_seconds, 0.01 + 10 * 1.01e6 / 1e7, 1e-12);
}

TEST(DeviceProfileTest, ComesBackFromJson) {
  DeviceProfile profile = Device(1e-3, 1e-4);
  profile.points[2].tag_bytes[1] = 77;
  profile.noise = {
      .rounds = 5, .num_clients = 4, .batch_size = 32, .noise_scale = 123.5};
  const auto read = ParseDeviceProfile(PrintDeviceProfile(profile));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(PrintDeviceProfile(*read), PrintDeviceProfile(profile));
  EXPECT_EQ(read->points[2].tag_bytes[1], 77);
  EXPECT_TRUE(std::isnan(read->noise.drift_share));
  EXPECT_EQ(read->noise.noise_scale, 123.5);
  const auto from_envelope = ParseDeviceProfile(
      "{\"command\": \"profile\", \"data\": " + PrintDeviceProfile(profile) +
      "}");
  EXPECT_TRUE(from_envelope.ok()) << from_envelope.status();
}

TEST(DeviceProfileTest, SaysWhatIsWrongWithAFile) {
  const std::string good = PrintDeviceProfile(Device(1e-3, 1e-4));
  const auto refusal = [&good](const std::string& from, const std::string& to) {
    const auto status =
        ParseDeviceProfile(absl::StrReplaceAll(good, {{from, to}})).status();
    EXPECT_EQ(FailureOf(status), Failure::kInputFile);
    return std::string(status.message());
  };
  EXPECT_NE(refusal("fedlb.profile/1", "other").find("no profile"),
            std::string::npos);
  EXPECT_NE(
      refusal("\"workers\": 0", "\"workers\": -1").find("`workers` is -1"),
      std::string::npos);
  EXPECT_NE(
      refusal("\"workers\": 0", "\"worker\": 0").find("`workers` is missing"),
      std::string::npos);
  EXPECT_NE(refusal("\"memory_bytes\": 1001000", "\"memory_bytes\": \"x\"")
                .find("`points/0/memory_bytes` is \"x\""),
            std::string::npos);
  EXPECT_NE(refusal("\"batch_size\": 2,", "\"batch_size\": 1,")
                .find("measured twice"),
            std::string::npos);
  EXPECT_EQ(FailureOf(ParseDeviceProfile("").status()), Failure::kInputFile);
  EXPECT_EQ(FailureOf(ParseDeviceProfile("[1]").status()), Failure::kInputFile);
  EXPECT_EQ(FailureOf(ParseDeviceProfile("{\"data\": 3}").status()),
            Failure::kInputFile);
}

TEST(DeviceProfileTest, OddPartsAreRefused) {
  std::string good = PrintDeviceProfile(Device(1e-3, 1e-4));
  const std::string level = absl::StrReplaceAll(
      good, {{"\"step_seconds\": 0.0011", "\"step_seconds\": 1e-320"}});
  EXPECT_FALSE(ParseDeviceProfile(level).ok());
  const size_t tags = good.find("\"tag_bytes\": {");
  const size_t end = good.find('}', tags);
  good.replace(tags, end + 1 - tags, "\"tag_bytes\": 3");
  EXPECT_TRUE(ParseDeviceProfile(good).ok());  // tags are for people
}

// Equal devices whose steps take the same for any batch share it evenly.
TEST(BatchSplitTest, TiesAreSharedEvenly) {
  const std::vector<DeviceProfile> devices = {Device(1e-3, 0), Device(1e-3, 0)};
  const auto split = SplitBatch(devices, 96);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ(split->shares[0].batch_size, 48);
  EXPECT_EQ(split->shares[1].batch_size, 48);
}

// As do devices whose times differ in the last bits, as fits on another machine
// do.
TEST(BatchSplitTest, RoundingDecidesNothing) {
  for (const double other : {1e-3 * (1 + 1e-15), 1e-3 * (1 - 1e-15)}) {
    for (const double slope : {0.0, 1e-19, -1e-19}) {
      const auto split =
          SplitBatch({Device(1e-3, slope), Device(other, 0)}, 96);
      ASSERT_TRUE(split.ok()) << split.status();
      EXPECT_EQ(split->shares[0].batch_size, 48) << other << " " << slope;
    }
  }
}

// A model with batch normalisation may not run with one example.
TEST(BatchSplitTest, NobodyGetsLessThanWhatRuns) {
  std::vector<DeviceProfile> devices = {Device(0, 1e-6), Device(0, 1e-1)};
  devices[1].points.erase(devices[1].points.begin());
  const auto split = SplitBatch(devices, 100);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ(split->shares[1].batch_size, 2);
  EXPECT_EQ(FailureOf(SplitBatch({devices[1], devices[1]}, 3).status()),
            Failure::kUsage);
  devices[1].points.resize(1);
  EXPECT_EQ(Advise(devices[1]).batch_size, 2);
}

// 20,000 files that differ from a good one in a few bytes: each is refused, or
// good for everything that profiles are good for.
TEST(DeviceProfileTest, EditedFilesAreRefusedOrUsable) {
  const std::string good = PrintDeviceProfile(Device(1e-3, 1e-4));
  RandomStream random({.seed = 7});
  const std::string bytes = "0123456789-+.eE\"{}[],: nul";
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = good;
    for (uint64_t edits = 1 + random.Below(4); edits > 0; --edits) {
      text[random.Below(text.size())] = bytes[random.Below(bytes.size())];
    }
    const auto profile = ParseDeviceProfile(text);
    if (!profile.ok()) {
      EXPECT_EQ(FailureOf(profile.status()), Failure::kInputFile);
      continue;
    }
    ++accepted;
    const auto models = ProfileModels::Fit(*profile);
    ASSERT_TRUE(models.ok());
    Predict(*profile, *models, 300);
    AdviseBatch(*profile, *models).status().IgnoreError();
    SplitBatch({*profile, *profile}, 64).status().IgnoreError();
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace fedlb
