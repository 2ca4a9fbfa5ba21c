#include "page_mapping.h"

#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fedlb {
namespace {

constexpr size_t kUnit = PageMapping::kUnit;

struct Destroyer {
  void operator()(PageMapping* mapping) const { PageMapping::Destroy(mapping); }
};
using Mapping = std::unique_ptr<PageMapping, Destroyer>;

// The first byte of each unit.
std::vector<int> Marks(PageMapping& mapping) {
  const auto* const data = static_cast<unsigned char*>(mapping.data());
  std::vector<int> marks;
  for (size_t at = 0; at < mapping.bytes(); at += kUnit) {
    marks.push_back(data[at]);
  }
  return marks;
}

// One unit for each mark.
Mapping Marked(const std::vector<int>& marks) {
  Mapping mapping(PageMapping::Create(marks.size() * kUnit));
  auto* const data = static_cast<unsigned char*>(mapping->data());
  for (size_t i = 0; i < marks.size(); ++i) {
    data[i * kUnit] = static_cast<unsigned char>(marks[i]);
  }
  return mapping;
}

TEST(PageMappingTest, DataIsAlignedAndItsOwnersBytesStandBeforeIt) {
  for (const size_t bytes : {kUnit, 5 * kUnit, 64 * kUnit, 1000 * kUnit}) {
    const Mapping mapping(PageMapping::Create(bytes));
    EXPECT_EQ(mapping->bytes(), bytes);
    EXPECT_EQ(PageMapping::Of(mapping->data()), mapping.get());
    const auto address = reinterpret_cast<uintptr_t>(mapping->data());
    EXPECT_EQ(address % 4096, 0);
    if (bytes >= PageMapping::kLargePageBytes) {
      EXPECT_EQ(address % PageMapping::kLargePageBytes, 0);
    }
    auto* const data = static_cast<char*>(mapping->data());
    std::fill(data - PageMapping::kOwnerBytes, data + bytes, '\x55');
    EXPECT_EQ(mapping->bytes(), bytes);
  }
}

TEST(PageMappingTest, PagesComeFromTheEndAndKeepTheirContents) {
  const Mapping from = Marked({1, 2, 3, 4, 5});
  const Mapping to(PageMapping::Create(3 * kUnit));
  EXPECT_EQ(to->TakePages(*from, 2 * kUnit), 2 * kUnit);
  EXPECT_EQ(from->bytes(), 3 * kUnit);
  EXPECT_THAT(Marks(*to), testing::ElementsAre(4, 5, 0));
  EXPECT_THAT(Marks(*from), testing::ElementsAre(1, 2, 3));
}

TEST(PageMappingTest, TakesNoMoreThanItsOwnUntouchedPages) {
  const Mapping from = Marked({1, 2, 3, 4, 5});
  const Mapping to(PageMapping::Create(2 * kUnit));
  EXPECT_EQ(to->TakePages(*from, 5 * kUnit), 2 * kUnit);
  EXPECT_EQ(to->TakePages(*from, 5 * kUnit), 0);
  EXPECT_THAT(Marks(*to), testing::ElementsAre(4, 5));
  EXPECT_THAT(Marks(*from), testing::ElementsAre(1, 2, 3));
}

TEST(PageMappingTest, WhatWasMadeOfManyIsTakenApartAgain) {
  const Mapping a = Marked({1, 2});
  const Mapping b = Marked({3, 4, 5});
  const Mapping whole(PageMapping::Create(6 * kUnit));
  EXPECT_EQ(whole->TakePages(*a, 6 * kUnit), 2 * kUnit);
  EXPECT_EQ(whole->TakePages(*b, 6 * kUnit), 3 * kUnit);
  EXPECT_EQ(a->bytes(), 0);
  EXPECT_EQ(b->bytes(), 0);
  EXPECT_THAT(Marks(*whole), testing::ElementsAre(1, 2, 3, 4, 5, 0));
  // Across the pieces it was made of.
  const Mapping c(PageMapping::Create(5 * kUnit));
  EXPECT_EQ(c->TakePages(*whole, 5 * kUnit), 5 * kUnit);
  EXPECT_THAT(Marks(*whole), testing::ElementsAre(1));
  std::vector<int> marks = Marks(*c);
  EXPECT_THAT(marks, testing::UnorderedElementsAre(2, 3, 4, 5, 0));
}

TEST(PageMappingTest, ManyPiecesAreAsManyAsItCanCount) {
  constexpr size_t kMore = 1200;
  const Mapping whole(PageMapping::Create(kMore * kUnit));
  size_t taken = 0;
  for (size_t i = 0; i < kMore; ++i) {
    const Mapping one = Marked({7});
    taken += whole->TakePages(*one, kUnit);
  }
  EXPECT_GT(taken, 900 * kUnit);
  EXPECT_LT(taken, kMore * kUnit);
  EXPECT_EQ(whole->bytes(), kMore * kUnit);
  const std::vector<int> marks = Marks(*whole);
  EXPECT_EQ(std::accumulate(marks.begin(), marks.end(), size_t{0}),
            7 * taken / kUnit);
  const Mapping other(PageMapping::Create(kMore * kUnit));
  EXPECT_GT(other->TakePages(*whole, kMore * kUnit), 900 * kUnit);
}

}  // namespace
}  // namespace fedlb
