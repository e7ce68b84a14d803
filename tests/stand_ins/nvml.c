/* Stands in for NVIDIA's management library, for pynvml and TensorFlow: GPUs that can be described, and do nothing.

   Settings are lines NAME=VALUE of the file that GNET_STUB_FILE names, read anew at every call, or else environment
   variables GNET_STUB_NAME. A value that differs by GPU has one for each, separated by ";", the last for all others.
     gpus          how many (default 1)                      names       "NVIDIA H100 80GB HBM3"
     mig           1 for a partitioned GPU, of 2 instances   total, used bytes of memory, half of each to an instance
     clock         MHz of the SMs                            power       mW
     temperature   °C                                        reasons     bits of the clocks' event reasons
     limit         mW that the driver enforces               instant     mW of now (default: the power)
     energy        mJ (default: 400 W since the system began)
     pids          PID:BYTES,... of the processes that compute on it; BYTES may be -1, which is not available
     processes     a folder with a file for each process that computes on GPU 0, named by its number, that holds the
                   bytes it took; they are in "used" as well, and gone with the process
     fail          functions that are not supported, separated by ","; nvmlInit fails as well when it is there; a field
                   is field NUMBER
     lost          1 for GPUs that fell off the bus
     slow          seconds that every question of a GPU takes
     SW_POWER_CAP, THERMAL, SYNC_BOOST   ns for which each lowered the clocks, or X% of the time that goes by */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int Answer;
enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, LOST = 15, MAX_GPUS = 16, INSTANCES = 2 };
typedef struct device { int gpu, instance; } *Device; /* instance: -1 of a whole GPU */
static struct device gpus[MAX_GPUS], instances[MAX_GPUS][INSTANCES];

static const char *setting(const char *name) {
  static __thread char line[4096];
  const char *path = getenv("GNET_STUB_FILE");
  FILE *file = path ? fopen(path, "r") : NULL;
  size_t length = strlen(name);
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, name, length) && line[length] == '=') {
      fclose(file);
      line[strcspn(line, "\n")] = 0;
      return line + length + 1;
    }
  if (file) fclose(file);
  char variable[64];
  snprintf(variable, sizeof variable, "GNET_STUB_%s", name);
  return getenv(variable);
}

static void text_of(const char *name, int gpu, const char *usual, char *into, size_t size) {
  const char *value = setting(name);
  snprintf(into, size, "%s", value ? value : usual);
  char *part = into;
  for (char *next; gpu > 0 && (next = strchr(part, ';')); gpu--) part = next + 1;
  part[strcspn(part, ";")] = 0;
  memmove(into, part, strlen(part) + 1);
}

static unsigned long long number_of(const char *name, int gpu, unsigned long long usual) {
  char text[256], default_text[32];
  snprintf(default_text, sizeof default_text, "%llu", usual);
  text_of(name, gpu, default_text, text, sizeof text);
  return strtoull(text, NULL, 0);
}

static int refuses(const char *function) {
  char list[1024];
  const char *value = setting("fail");
  snprintf(list, sizeof list, "%s", value ? value : "");
  for (char *state, *word = strtok_r(list, ",", &state); word; word = strtok_r(NULL, ",", &state))
    if (!strncmp(function, word, strlen(word))) return 1;
  return 0;
}
static Answer refusal(const char *function) {
  if (setting("slow")) usleep(strtod(setting("slow"), NULL) * 1e6);
  return setting("lost") ? LOST : refuses(function) ? NOT_SUPPORTED : OK;
}
#define MAY_REFUSE do { Answer no = refusal(__func__); if (no) return no; } while (0)

Answer nvmlInitWithFlags(unsigned flags) {
  (void)flags;
  if (refuses("nvmlInit")) return 9; /* the driver is not loaded */
  for (int gpu = 0; gpu < MAX_GPUS; gpu++) {
    gpus[gpu] = (struct device){gpu, -1};
    for (int i = 0; i < INSTANCES; i++) instances[gpu][i] = (struct device){gpu, i};
  }
  return OK;
}
Answer nvmlInit_v2(void) { return nvmlInitWithFlags(0); } /* what TensorFlow calls */
Answer nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(Answer answer) { return answer == NOT_SUPPORTED ? "Not Supported" : "stand-in"; }
Answer nvmlSystemGetDriverVersion(char *into, unsigned size) {
  MAY_REFUSE;
  snprintf(into, size, "580.95.05");
  return OK;
}
Answer nvmlSystemGetCudaDriverVersion_v2(int *version) { MAY_REFUSE; *version = 13000; return OK; }
Answer nvmlDeviceGetCount_v2(unsigned *count) { MAY_REFUSE; *count = number_of("gpus", 0, 1); return OK; }
Answer nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *device) {
  MAY_REFUSE;
  if (index >= number_of("gpus", 0, 1)) return INVALID;
  *device = &gpus[index];
  return OK;
}
Answer nvmlDeviceGetIndex(Device device, unsigned *index) { MAY_REFUSE; *index = device->gpu; return OK; }
Answer nvmlDeviceGetName(Device device, char *into, unsigned size) {
  MAY_REFUSE;
  text_of("names", device->gpu, "NVIDIA H100 80GB HBM3", into, size);
  return OK;
}
Answer nvmlDeviceGetUUID(Device device, char *into, unsigned size) {
  MAY_REFUSE;
  if (device->instance < 0)
    snprintf(into, size, "GPU-%x0000000-0000-4000-8000-000000000000", device->gpu);
  else
    snprintf(into, size, "MIG-%x%x000000-0000-5000-8000-000000000000", device->gpu, device->instance);
  return OK;
}
Answer nvmlDeviceGetHandleByUUID(const char *uuid, Device *device) {
  MAY_REFUSE;
  for (unsigned gpu = 0; gpu < number_of("gpus", 0, 1); gpu++)
    for (int i = -1; i < INSTANCES; i++) {
      Device each = i < 0 ? &gpus[gpu] : &instances[gpu][i];
      char own[96];
      nvmlDeviceGetUUID(each, own, sizeof own);
      if (!strcmp(uuid, own) && (i < 0 || number_of("mig", gpu, 0))) {
        *device = each;
        return OK;
      }
    }
  return NOT_FOUND;
}
Answer nvmlDeviceGetMigMode(Device device, unsigned *current, unsigned *pending) {
  MAY_REFUSE;
  *current = *pending = number_of("mig", device->gpu, 0);
  return OK;
}
Answer nvmlDeviceIsMigDeviceHandle(Device device, unsigned *is) { MAY_REFUSE; *is = device->instance >= 0; return OK; }
Answer nvmlDeviceGetMaxMigDeviceCount(Device device, unsigned *count) {
  MAY_REFUSE;
  (void)device;
  *count = INSTANCES;
  return OK;
}
Answer nvmlDeviceGetMigDeviceHandleByIndex(Device device, unsigned index, Device *instance) {
  MAY_REFUSE;
  if (!number_of("mig", device->gpu, 0) || index >= INSTANCES) return NOT_FOUND;
  *instance = &instances[device->gpu][index];
  return OK;
}
Answer nvmlDeviceGetGpuInstanceId(Device instance, unsigned *id) { MAY_REFUSE; *id = instance->instance + 1; return OK; }
Answer nvmlDeviceGetComputeInstanceId(Device instance, unsigned *id) { MAY_REFUSE; (void)instance; *id = 0; return OK; }
Answer nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device instance, Device *device) {
  MAY_REFUSE;
  *device = &gpus[instance->gpu];
  return OK;
}
Answer nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor) {
  MAY_REFUSE;
  (void)device;
  *major = 9;
  *minor = 0;
  return OK;
}

static unsigned add_processes(unsigned *pids, unsigned long long *taken, unsigned room) {
  const char *path = setting("processes");
  char folder[4096], file[4400];
  snprintf(folder, sizeof folder, "%s", path ? path : "");
  DIR *files = path ? opendir(folder) : NULL;
  unsigned count = 0;
  for (struct dirent *each; files && count < room && (each = readdir(files));) {
    int pid = atoi(each->d_name);
    if (pid <= 0 || kill(pid, 0)) continue;
    snprintf(file, sizeof file, "%s/%s", folder, each->d_name);
    FILE *stream = fopen(file, "r");
    if (!stream) continue;
    pids[count] = pid;
    if (fscanf(stream, "%llu", &taken[count]) == 1) count++;
    fclose(stream);
  }
  if (files) closedir(files);
  return count;
}

struct memory { unsigned long long total, free, used; };
Answer nvmlDeviceGetMemoryInfo(Device device, struct memory *memory) {
  MAY_REFUSE;
  int parts = device->instance < 0 ? 1 : INSTANCES;
  memory->total = number_of("total", device->gpu, 85520809984ULL) / parts;
  memory->used = number_of("used", device->gpu, 1ULL << 30) / parts;
  unsigned pids[64];
  unsigned long long taken[64];
  for (unsigned count = device->gpu ? 0 : add_processes(pids, taken, 64); count; count--)
    memory->used += taken[count - 1];
  memory->free = memory->used < memory->total ? memory->total - memory->used : 0;
  return OK;
}
Answer nvmlDeviceGetClockInfo(Device device, int kind, unsigned *clock) {
  MAY_REFUSE;
  (void)kind;
  if (device->instance >= 0) return NOT_SUPPORTED; /* as NVML has it for an instance */
  *clock = number_of("clock", device->gpu, 1980);
  return OK;
}
Answer nvmlDeviceGetMaxClockInfo(Device device, int kind, unsigned *clock) {
  (void)device, (void)kind;
  MAY_REFUSE;
  *clock = 1980;
  return OK;
}
Answer nvmlDeviceGetPowerUsage(Device device, unsigned *power) {
  MAY_REFUSE;
  if (device->instance >= 0) return NOT_SUPPORTED;
  *power = number_of("power", device->gpu, 412345);
  return OK;
}
Answer nvmlDeviceGetTemperature(Device device, int sensor, unsigned *temperature) {
  (void)sensor;
  MAY_REFUSE;
  *temperature = number_of("temperature", device->gpu, 61);
  return OK;
}
struct temperature { unsigned version; int sensor, temperature; };
Answer nvmlDeviceGetTemperatureV(Device device, struct temperature *temperature) {
  MAY_REFUSE;
  temperature->temperature = number_of("temperature", device->gpu, 61);
  return OK;
}
Answer nvmlDeviceGetEnforcedPowerLimit(Device device, unsigned *limit) {
  MAY_REFUSE;
  if (device->instance >= 0) return NOT_SUPPORTED;
  *limit = number_of("limit", device->gpu, 700000);
  return OK;
}
static unsigned long long nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ULL + now.tv_nsec;
}
Answer nvmlDeviceGetTotalEnergyConsumption(Device device, unsigned long long *energy) {
  MAY_REFUSE;
  if (device->instance >= 0) return NOT_SUPPORTED;
  *energy = number_of("energy", device->gpu, nanoseconds() / 1000000 * 400);
  return OK;
}
Answer nvmlDeviceGetCurrentClocksEventReasons(Device device, unsigned long long *reasons) {
  MAY_REFUSE;
  if (device->instance >= 0) return NOT_SUPPORTED;
  *reasons = number_of("reasons", device->gpu, 1);
  return OK;
}
Answer nvmlDeviceGetCurrentClocksThrottleReasons(Device device, unsigned long long *reasons) {
  return nvmlDeviceGetCurrentClocksEventReasons(device, reasons);
}
struct field { unsigned id, scope; long long at, latency; int type; Answer answer; unsigned long long value; };
enum { UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3 };
static Answer counter(Device device, const char *name, struct field *field) {
  char text[64];
  if (!setting(name)) return NOT_SUPPORTED;
  text_of(name, device->gpu, "", text, sizeof text);
  field->type = UNSIGNED_LONG_LONG;
  field->value = strchr(text, '%') ? nanoseconds() / 100 * strtoull(text, NULL, 10) : strtoull(text, NULL, 0);
  return OK;
}
static Answer field_value(Device device, struct field *field) {
  char name[32];
  unsigned power;
  snprintf(name, sizeof name, "field %u", field->id);
  if (refuses(name)) return NOT_SUPPORTED;
  switch (field->id) {
    case 74: return counter(device, "SW_POWER_CAP", field);
    case 75: return counter(device, "THERMAL", field);
    case 76: return counter(device, "SYNC_BOOST", field);
    case 83:
      field->type = UNSIGNED_LONG_LONG;
      return nvmlDeviceGetTotalEnergyConsumption(device, &field->value);
    case 186:
      if (device->instance >= 0) return NOT_SUPPORTED;
      power = number_of("instant", device->gpu, number_of("power", device->gpu, 412345));
      field->type = UNSIGNED_INT;
      memcpy(&field->value, &power, sizeof power);
      return OK;
  }
  return NOT_SUPPORTED;
}
Answer nvmlDeviceGetFieldValues(Device device, int count, struct field *fields) {
  MAY_REFUSE;
  for (int i = 0; i < count; i++) fields[i].answer = field_value(device, &fields[i]);
  return OK;
}
struct process { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; };
Answer nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned *room, struct process *processes) {
  MAY_REFUSE;
  char text[1024];
  struct process running[64];
  unsigned count = 0;
  text_of("pids", device->gpu, "", text, sizeof text);
  for (char *state, *word = strtok_r(text, ",", &state); word && count < 64; word = strtok_r(NULL, ",", &state)) {
    char *bytes = strchr(word, ':');
    running[count++] = (struct process){atoi(word), bytes ? strtoull(bytes + 1, NULL, 0) : 1ULL << 30, ~0u, ~0u};
  }
  unsigned pids[64];
  unsigned long long taken[64];
  for (unsigned more = device->gpu ? 0 : add_processes(pids, taken, 64 - count); more; more--)
    running[count++] = (struct process){pids[more - 1], taken[more - 1], ~0u, ~0u};
  if (count > *room || (count && !processes)) {
    *room = count;
    return TOO_SMALL;
  }
  *room = count;
  if (count) memcpy(processes, running, count * sizeof *running);
  return OK;
}
