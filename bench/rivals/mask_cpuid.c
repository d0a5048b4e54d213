// Answers for the cpuid instructions that mask_cpuid.py has replaced by ud2: what the processor says, without AVX-512,
// AVX-VNNI, AMX and AVX10. Loaded into a rival's process with LD_PRELOAD.
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdlib.h>
#include <ucontext.h>

#define BIT(n) (1u << (n))

static void answer(int signal_number, siginfo_t* info, void* context) {
  (void)info;
  greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  const unsigned char* at = (const unsigned char*)registers[REG_RIP];
  if (at[0] != 0x0F || at[1] != 0x0B) {  // an illegal instruction of another kind
    signal(signal_number, SIG_DFL);
    return;
  }
  const unsigned leaf = (unsigned)registers[REG_RAX], subleaf = (unsigned)registers[REG_RCX];
  unsigned a, b, c, d;
  __cpuid_count(leaf, subleaf, a, b, c, d);
  if (leaf == 7 && subleaf == 0) {
    b &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31));  // AVX-512 F, DQ, IFMA, PF, ER, CD, BW, VL
    c &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));  // AVX-512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ
    d &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25));  // 4VNNIW, 4FMAPS, VP2INTERSECT, AMX, FP16
  } else if (leaf == 7 && subleaf == 1) {
    a &= ~(BIT(4) | BIT(5) | BIT(21) | BIT(23));  // AVX-VNNI, AVX-512 BF16, AMX FP16, AVX-IFMA
    d = 0;                                        // AVX-VNNI-INT8 and -INT16, AVX10
  } else if (leaf == 0x1D || leaf == 0x1E || leaf == 0x24) {
    a = b = c = d = 0;  // AMX and AVX10 in detail
  }
  registers[REG_RAX] = a;
  registers[REG_RBX] = b;
  registers[REG_RCX] = c;
  registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void) {
  struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
  if (sigaction(SIGILL, &action, NULL) != 0) abort();
}
