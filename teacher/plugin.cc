#include "fedlb/plugin.h"

#include "piece_autoencoder.h"
#include "subspace_autoencoder.h"
#include "teacher_mapper.h"
#include "transformer.h"

namespace fedlb::teacher {
namespace {

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<PieceAutoencoder>();
  registrar.Add<SubspaceAutoencoder>();
  registrar.Add<Transformer>();
  registrar.Add<TeacherMapper>();
}

}  // namespace
}  // namespace fedlb::teacher

FEDLB_PLUGIN("teacher", "0.1.0", fedlb::teacher::RegisterComponents);
