#include "textflag.h"

// func int80(nr, last uint32) int32
// System calls of i386: the number in AX, arguments in BX, CX, DX, SI, DI, BP. The frame makes the assembler save BP.
TEXT ·int80(SB), NOSPLIT, $16-12
	MOVL nr+0(FP), AX
	MOVL last+4(FP), R12
	XORL BX, BX
	XORL CX, CX
	XORL DX, DX
	XORL SI, SI
	XORL DI, DI
	MOVL R12, BP
	INT  $0x80
	MOVL AX, ret+8(FP)
	RET
