#include <string>

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "compression/none.h"
#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"
#include "plugins/make_component.h"

namespace fedlb {
namespace {

using compression::None;

TEST(NoneTest, AnUpdateComesBackBitForBit) {
  const auto compressor = Make<None>("");
  Update update;
  update.groups[kParametersGroup] = {at::tensor({0.1F, -0.0F})};
  const std::string before = Sha256Hex(update.parameters());
  ComponentState residual;
  ASSERT_TRUE(compressor->Compress(update, residual).ok());
  ASSERT_TRUE(compressor->Decompress({{"w", {2}, at::kFloat}}, update).ok());
  EXPECT_EQ(Sha256Hex(update.parameters()), before);
  EXPECT_TRUE(residual.empty());
  EXPECT_EQ(compressor->BytesPerClient({{"w", {2}, at::kFloat}}), 0);
}

TEST(NoneTest, WhatDoesNotFitTheLayoutIsRefused) {
  const auto compressor = Make<None>("");
  Update update;
  EXPECT_EQ(compressor->Decompress({{"w", {2}, at::kFloat}}, update).code(),
            absl::StatusCode::kInvalidArgument);
  update.groups[kParametersGroup] = {at::tensor({0.1F})};
  EXPECT_EQ(compressor->Decompress({{"w", {2}, at::kFloat}}, update).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace fedlb
