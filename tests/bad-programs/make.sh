#!/bin/sh
# Makes programs that cannot be run, each for another reason, and two that can (static, large-high), in the folder $1. Prints their
# paths, but not that of an empty file, which no boot image takes. Where there is no compiler for a machine, the header of a
# program for this one is changed.
set -eu
mkdir -p "$1"
cd "$1"

cat > hello.c <<'END'
#include <stdio.h>
int main(void) { puts("hello"); return 0; }
END
# 64 TiB of zeroes fit into a task's addresses and cost nothing until they are touched; twice as much does not fit.
cat > large.c <<'END'
static volatile char zeroes[1UL << SHIFT];
static long call(long number, long a, const void *b, long c)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
void _start(void)
{
    call(1, 1, zeroes[sizeof zeroes - 1] ? "no" : "ok", 2);
    for (;;) {
        call(231, 0, 0, 0);
    }
}
END

# Bytes of the ELF header: $1 is the file, $2 the offset, $3 the new byte in octal.
patch() {
    printf "\\$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

cc -O2 -o dynamic hello.c
cc -O2 -no-pie -o dynamic-fixed hello.c
cc -O2 -shared -fPIC -o shared-library hello.c
cc -O2 -c -o object-file hello.c
cc -O2 -static -o static hello.c
cp static elf32 && patch elf32 4 001 && patch elf32 18 003   # class 32-bit, machine Intel 80386
cp static x32 && patch x32 4 001                             # class 32-bit, machine x86-64
cp static aarch64 && patch aarch64 18 267                    # machine AArch64
cp static big-endian && patch big-endian 5 002
head -c 40 static > cut-header
head -c 100000 static > cut
: > empty
printf '#!/bin/sh\necho hello\n' > script
for shift in 46 47; do
    cc -O2 -static -nostdlib -mcmodel=large -DSHIFT=$shift -o large-$shift large.c
done
# The same above the place of linux-abi.
cc -O2 -static -nostdlib -mcmodel=large -DSHIFT=46 -Wl,-Ttext-segment=0x100000000 -o large-high large.c
rm hello.c large.c
for name in dynamic dynamic-fixed shared-library object-file elf32 x32 aarch64 big-endian cut-header cut script large-46 large-47 large-high static; do
    echo "$PWD/$name"
done
