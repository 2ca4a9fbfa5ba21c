// The batch policies of the plugin `batch`.

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "batch/constant.h"
#include "batch/per_client.h"
#include "fedlb/config_table.h"
#include "fedlb/status.h"

namespace fedlb::batch {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

ComponentContext ContextOf(int64_t num_clients) {
  ComponentContext context;
  context.num_clients = num_clients;
  return context;
}

TEST(ConstantTest, IsTheSameForAll) {
  const auto policy = Constant::Create({.batch_size = 48}, ContextOf(3));
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ(*(*policy)->BatchSize(0, 0), 48);
  EXPECT_EQ(*(*policy)->BatchSize(9, 2), 48);
}

TEST(PerClientTest, EachClientHasItsEntry) {
  const auto policy =
      PerClient::Create({.batch_sizes = {8, 16, 32}}, ContextOf(3));
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ(*(*policy)->BatchSize(0, 0), 8);
  EXPECT_EQ(*(*policy)->BatchSize(1, 1), 16);
  EXPECT_EQ(*(*policy)->BatchSize(2, 2), 32);
}

TEST(PerClientTest, AShorterListIsRepeated) {
  const auto policy = PerClient::Create({.batch_sizes = {8, 16}}, ContextOf(6));
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ(*(*policy)->BatchSize(0, 4), 8);
  EXPECT_EQ(*(*policy)->BatchSize(0, 5), 16);
}

TEST(PerClientTest, RefusesAListThatDoesNotFitTheClients) {
  for (const int64_t num_clients : {2, 4}) {
    const auto policy =
        PerClient::Create({.batch_sizes = {8, 16, 32}}, ContextOf(num_clients));
    EXPECT_EQ(FailureOf(policy.status()), Failure::kConfig);
    EXPECT_THAT(std::string(policy.status().message()),
                AllOf(HasSubstr("3 entries"), HasSubstr("federation.clients")));
  }
}

TEST(PerClientTest, RefusesAnEmptyListAndEmptyBatches) {
  for (const ConfigValue::Array& sizes :
       {ConfigValue::Array{},
        ConfigValue::Array{ConfigValue(int64_t{8}), ConfigValue(int64_t{0})}}) {
    ConfigTable table;
    table.Set("batch_sizes", ConfigValue(sizes));
    EXPECT_EQ(FailureOf(PerClient::Schema().Parse(table).status()),
              Failure::kConfig);
  }
}

}  // namespace
}  // namespace fedlb::batch
