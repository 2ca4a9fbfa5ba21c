// How far several gradient steps go where one step of the same rate would go 1.

#ifndef FEDLB_TEACHER_DISPLACEMENT_GAIN_H_
#define FEDLB_TEACHER_DISPLACEMENT_GAIN_H_

namespace fedlb::teacher {

// The displacement of `steps` steps of gradient descent on a quadratic, over
// lr times the first gradient, along a direction of curvature z / lr:
//   phi(z) = (1 - (1 - z)^steps) / z.
// It is `steps` at z = 0. From z = 1 on, where the steps overshoot, it is 1/z,
// the one step to the minimum. `z` is not negative and `steps` at least 1.
double DisplacementGain(double z, double steps);

}  // namespace fedlb::teacher

#endif  // FEDLB_TEACHER_DISPLACEMENT_GAIN_H_
