/* The smallest static Linux program: without arguments it exits at once; with one it says on standard output that
   it lives, and waits until it is killed. One segment, so that starting it costs as little as Linux can do. */

#include <sys/syscall.h>

        .globl _start
_start: cmpq    $1, (%rsp)              /* argc */
        jne     wait
        mov     $SYS_exit, %eax
        xor     %edi, %edi
        syscall

wait:   mov     $SYS_write, %eax
        mov     $1, %edi
        lea     alive(%rip), %rsi
        mov     $1, %edx
        syscall
1:      mov     $SYS_pause, %eax
        syscall
        jmp     1b

alive:  .ascii  "w"
        .section .note.GNU-stack, "", @progbits
