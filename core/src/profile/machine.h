// What this machine is and how much memory a process may use on it.

#ifndef FEDLB_SRC_PROFILE_MACHINE_H_
#define FEDLB_SRC_PROFILE_MACHINE_H_

#include <cstdint>
#include <string>

namespace fedlb {

// "AMD EPYC 9R14, 2 cores".
std::string DescribeCpu();

// Bytes that this process may have resident without pushing others out: what it
// has and what the system calls available, at most the limit of its cgroup.
// 0 where the system does not tell.
int64_t ProcessMemoryBudget();

// The most that this process had resident (VmHWM), in bytes, 0 where the system
// does not tell; and making it begin anew from what is resident now.
int64_t PeakResidentBytes();
void ResetPeakResident();

// Gives what others than tensors have freed back to the system, and what MKL
// keeps for products of matrices to come. No kernel may run meanwhile.
void TrimHeap();

}  // namespace fedlb

#endif  // FEDLB_SRC_PROFILE_MACHINE_H_
