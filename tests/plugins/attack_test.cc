#include "algorithms/attack.h"

#include <cmath>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fedlb/client_state.h"
#include "fedlb/round_task.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using algorithms::Attack;
using ::testing::DoubleNear;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Pointwise;
using ::testing::Truly;

// What client 1 sends for the honest update (1, -2).
std::vector<double> Sent(const std::string& options, int64_t client = 1,
                         int64_t round = 0, double weight = 0,
                         ClientState* state = nullptr) {
  ComponentContext context;
  context.num_clients = 3;
  const auto attack = Make<Attack>("clients = [1]\n" + options, context);
  RoundTask task;
  task.round = round;
  task.weights = {at::tensor({weight, 2 * weight})};
  Update update;
  update.kind = Update::Kind::kDelta;
  update.round = round;
  update.client = client;
  update.groups[kParametersGroup] = {at::tensor({1.0, -2.0})};
  ClientState fresh;
  EXPECT_TRUE(attack
                  ->AddToUpdate(task, task.weights, update,
                                state == nullptr ? fresh : *state)
                  .ok());
  return ToVector(update.parameters()[0]);
}

TEST(AttackTest, HonestClientsSendWhatTheyHave) {
  for (const char* kind :
       {"sign_flip", "scale", "gaussian", "not_a_number", "little_is_enough"}) {
    EXPECT_THAT(Sent(std::string("kind = '") + kind + "'", 0),
                ElementsAre(1, -2));
  }
}

TEST(AttackTest, HostileClientsDoNot) {
  EXPECT_THAT(Sent(""), ElementsAre(-1, 2));
  EXPECT_THAT(Sent("factor = 4.0"), ElementsAre(-4, 8));
  EXPECT_THAT(Sent("kind = 'scale'\nfactor = 100.0"), ElementsAre(100, -200));
  EXPECT_THAT(Sent("kind = 'not_a_number'"),
              Each(Truly([](double value) { return std::isnan(value); })));
  EXPECT_THAT(Sent("kind = 'label_flip'"), ElementsAre(1, -2));
  const std::vector<double> noise = Sent("kind = 'gaussian'\nsigma = 1e-3");
  EXPECT_LT(std::abs(noise[0]) + std::abs(noise[1]), 0.02);
  EXPECT_NE(noise, Sent("kind = 'gaussian'\nsigma = 1e-3", 1, 1));
}

// Two rounds moved the weights by (1, 2): m = (0.5, 1), s = (0.5, 3).
TEST(AttackTest, ALittleIsMeanMinusDeviations) {
  ClientState state;
  const std::string options = "kind = 'little_is_enough'\nz = 2.0";
  EXPECT_THAT(Sent(options, 1, 3, 10, &state), ElementsAre(1, -2));
  EXPECT_THAT(Sent(options, 1, 5, 11, &state),
              Pointwise(DoubleNear(1e-12), {0.5 - 2 * 0.5, 1 - 2 * 3.0}));
}

TEST(AttackTest, LabelsAreTurnedAround) {
  ComponentContext context;
  context.num_clients = 3;
  const auto attack =
      Make<Attack>("clients = [1]\nkind = 'label_flip'", context);
  at::Tensor targets = at::tensor(std::vector<int64_t>{0, 3, 9});
  ASSERT_TRUE(attack->AdjustTargets(0, 10, targets).ok());
  EXPECT_TRUE(targets.equal(at::tensor(std::vector<int64_t>{0, 3, 9})));
  ASSERT_TRUE(attack->AdjustTargets(1, 10, targets).ok());
  EXPECT_TRUE(targets.equal(at::tensor(std::vector<int64_t>{9, 6, 0})));
}

TEST(AttackTest, ClientsMustExist) {
  ComponentContext context;
  context.num_clients = 3;
  EXPECT_EQ(FailureOf(TryMake<Attack>("clients = [3]", context).status()),
            Failure::kConfig);
}

}  // namespace
}  // namespace fedlb
