/* Stands in for NVIDIA's driver: H100s that can be counted and described, and nothing else.
   GNET_STUB_gpus says how many (default 1). */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

typedef int Answer;
Answer cuInit(unsigned flags) { (void)flags; return 0; }
Answer cuDriverGetVersion(int *version) { *version = 13000; return 0; }
Answer cuDeviceGetCount(int *count) {
  const char *asked = getenv("GNET_STUB_gpus");
  *count = asked ? atoi(asked) : 1;
  return 0;
}
Answer cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
Answer cuDeviceGetName(char *into, int size, int device) {
  (void)device;
  snprintf(into, size, "NVIDIA H100 80GB HBM3");
  return 0;
}
Answer cuDeviceGetPCIBusId(char *into, int size, int device) {
  snprintf(into, size, "0000:%02x:00.0", device + 1);
  return 0;
}
Answer cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = 85520809984UL; return 0; }
Answer cuDeviceGetAttribute(int *value, int attribute, int device) {
  (void)device;
  /* By CUdevice_attribute's numbers: an H100's as NVIDIA lists them; 1 for what is not asked here. */
  static const struct { int attribute, value; } known[] = {
      {1, 1024}, {8, 49152}, {10, 32}, {12, 65536}, {13, 1980000}, {16, 132}, {36, 2619000}, {37, 5120},
      {38, 52428800}, {39, 2048}, {75, 9}, {76, 0}, {81, 233472}, {82, 65536}, {97, 232448}};
  *value = 1;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i].attribute == attribute) *value = known[i].value;
  return 0;
}
Answer cuGetErrorName(int error, const char **name) { (void)error; *name = "STAND_IN"; return 0; }
Answer cuGetErrorString(int error, const char **text) { (void)error; *text = "stand-in"; return 0; }
