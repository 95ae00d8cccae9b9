/*
 * The CPU time of the proxy's process tree, of this process, of all others and of the machine, at one moment.
 * A live process is read by its CPU clock (clock_getcpuclockid(3): nanoseconds, all threads, also those that
 * ended); children that were reaped come from cutime and cstime in /proc/PID/stat (proc(5), in ticks).
 * A child that ends between two samples moves from the first kind to the second, so nothing is lost.
 * Beside it the time that threads were ready to run and did not, from the second field of /proc/PID/task/TID/schedstat
 * (nanoseconds): on an otherwise empty machine there is next to none.
 */
#include "load.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct process {
  int pid, parent;
  bool inside;
  unsigned long user, system, child_user, child_system;
};

static bool read_process(int pid, struct process *process) {
  char path[64], line[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "r");
  if (!file) return false;
  size_t size = fread(line, 1, sizeof line - 1, file);
  fclose(file);
  line[size] = 0;
  char *rest = strrchr(line, ')'); /* the name may hold blanks and brackets */
  if (!rest) return false;
  process->pid = pid;
  process->inside = false;
  return sscanf(rest + 2, "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu", &process->parent,
                &process->user, &process->system, &process->child_user, &process->child_system) == 5;
}

static uint64_t cpu_clock(int pid) {
  clockid_t id;
  struct timespec time;
  if (clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &time) != 0) return 0;
  return (uint64_t)time.tv_sec * 1000000000ull + (uint64_t)time.tv_nsec;
}

static uint64_t waited(int pid) {
  char path[320];
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *directory = opendir(path);
  if (!directory) return 0;
  uint64_t sum = 0;
  for (struct dirent *entry; (entry = readdir(directory));) {
    if (!isdigit((unsigned char)entry->d_name[0])) continue;
    snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, entry->d_name);
    FILE *file = fopen(path, "r");
    unsigned long delay = 0;
    if (!file) continue;
    if (fscanf(file, "%*u %lu", &delay) == 1) sum += delay;
    fclose(file);
  }
  closedir(directory);
  return sum;
}

/* Kernel threads are nobody's: what they do, they do for whoever is measured. */
static bool is_kernel(const struct process *process) { return process->pid == 2 || process->parent == 2; }

static void sample_processes(struct sample *sample, int root) {
  static struct process *list;
  static size_t room;
  size_t count = 0;
  DIR *directory = opendir("/proc");
  if (!directory) return;
  for (struct dirent *entry; (entry = readdir(directory));) {
    if (!isdigit((unsigned char)entry->d_name[0])) continue;
    if (count == room) list = realloc(list, (room = room ? room * 2 : 256) * sizeof *list);
    if (read_process(atoi(entry->d_name), &list[count])) count++;
  }
  closedir(directory);
  bool grown = true;
  for (size_t i = 0; i < count; i++) list[i].inside = root > 0 && list[i].pid == root;
  while (grown) {
    grown = false;
    for (size_t i = 0; i < count; i++) {
      for (size_t j = 0; !list[i].inside && j < count; j++) {
        if (list[j].inside && list[j].pid == list[i].parent) list[i].inside = grown = true;
      }
    }
  }
  uint64_t tick = 1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK);
  for (size_t i = 0; i < count; i++) {
    const struct process *process = &list[i];
    if (process->pid == getpid() || is_kernel(process)) continue;
    uint64_t used = cpu_clock(process->pid) + (process->child_user + process->child_system) * tick;
    if (!process->inside) {
      sample->others += used;
      continue;
    }
    sample->processes++;
    sample->tree += used;
    sample->tree_waited += waited(process->pid);
    sample->tree_user += (process->user + process->child_user) * tick;
    sample->tree_system += (process->system + process->child_system) * tick;
  }
}

static void sample_machine(struct sample *sample) {
  unsigned long user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0, steal = 0;
  FILE *file = fopen("/proc/stat", "r");
  if (!file) return;
  if (fscanf(file, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", &user, &nice, &system, &idle, &wait, &irq, &softirq, &steal) < 8) steal = 0;
  fclose(file);
  uint64_t tick = 1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK);
  sample->busy = (user + nice + system + irq + softirq) * tick;
  sample->steal = steal * tick;
  sample->total = sample->busy + sample->steal + (idle + wait) * tick;
}

void sample_take(struct sample *sample, int root) {
  memset(sample, 0, sizeof *sample);
  sample_machine(sample);
  sample_processes(sample, root);
  sample->self = cpu_clock(getpid());
  sample->self_waited = waited(getpid());
  sample->at = now_ns();
}
