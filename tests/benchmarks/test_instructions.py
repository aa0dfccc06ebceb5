"""Loops of machine code, and what a thread runs in them."""

from __future__ import annotations

import pytest
from benchmarks.instructions import moved, read, trips

NESTED = """
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P1 EXIT ;
        /*0020*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0030*/                   BSSY B0, 0x60 ;
        /*0040*/               @P2 BRA 0x60 ;
        /*0050*/                   LDG.E.U16.CONSTANT R8, desc[UR4][R2.64] ;
        /*0060*/                   BSYNC B0 ;
        /*0070*/               @P0 BRA 0x50 ;
        /*0080*/               @P4 BRA P5, 0xa0 ;
        /*0090*/                   CALL.REL.NOINC 0xe0 ;
        /*00a0*/              @!P3 BRA 0x20 ;
        /*00b0*/              @P6 STG.E.64 desc[UR4][R2.64], R4 ;
        /*00c0*/                   EXIT ;
        /*00d0*/                   BRA 0xd0 ;
        /*00e0*/                   FADD R1, R2, R3 ;
        /*00f0*/                   RET.REL.NODEC R2 0x0 ;
        /*0100*/                   NOP ;
"""


def test_nested_loops_and_what_is_not_reached() -> None:
    # A loop whose middle can be entered is one of the loop around it only.
    code = read(NESTED.replace("@P0 BRA 0x50", "@P0 BRA 0x30"))
    assert code.amount == 13
    assert [(loop.head, loop.amount, loop.parent) for loop in code.loops] == [
        (2, 9, None),
        (3, 5, 0),
    ]
    assert code.executed((1, 1)) == 13
    assert code.executed((3, 4)) == 4 + 3 * 4 + 12 * 5
    assert code.executed((3,)) is None
    assert [loop.amount for loop in read(NESTED).loops] == [9]


def test_loops_one_after_another() -> None:
    code = read(
        """
        /*0000*/ IADD3 R1, R1, 0x1 ;
        /*0010*/ @P0 BRA 0x0 ;
        /*0020*/ FADD R1, R2, R3 ;
        /*0030*/ FADD R1, R2, R3 ;
        /*0040*/ @!P0 BRA 0x20 ;
        /*0050*/ NOP ;
        /*0060*/ EXIT ;
        """
    )
    assert code.executed((4, 10)) == 4 * 2 + 10 * 3 + 1


def test_code_without_loops_runs_once_however_often_the_source_says() -> None:
    assert read("/*0000*/ FADD R1, R2, R3 ;\n/*0010*/ EXIT ;").executed((9,)) == 2


def test_a_branch_with_unknown_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="BRX: the targets"):
        read("/*0000*/ BRX R2 -0x10 ;\n/*0010*/ EXIT ;")


def test_bytes_of_accesses() -> None:
    assert read(NESTED, moved).amount == 16 + 2 + 8
    assert moved("LDG.E R4, desc[UR4][R2.64]") == 4
    assert moved("@P0 STG.E.EF.U8 desc[UR4][R2.64], R4") == 1
    assert moved("LDS.128 R4, [R2]") == 0


def test_how_often_the_loops_of_a_launch_run() -> None:
    assert trips("dense_losses_kernel", {"FULL": 144, "BLOCK_C": 16}) == (9,)
    assert trips("cells_kernel", {"cell_h": 8, "cell_w": 7}) == (8, 7)
    row = {"units": 2**18, "UNIT": 4, "BLOCK": 1024, "G": 32, "TOP_K": 0, "PASS": 0}
    assert trips("sift_kernel", row) == (4, 32)
    assert trips("sift_kernel", row | {"PASS": 1}) is None
    assert trips("gather_kernel", {}) == ()
