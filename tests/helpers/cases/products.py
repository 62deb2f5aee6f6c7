"""Products of matrices and tensors."""

from collections.abc import Iterator

from tests.helpers.cases.case import Case, N, normal


def products() -> Iterator[Case]:
    for shape in ((N, 3, 3), (N, 2, 2, 2), (N, 2, 1, 1), (N, 4, 4)):
        yield Case("Det", [shape], note=f"{shape[-1]}x{shape[-1]}")
    yield Case("Einsum", [(N, 3, 4), normal(4, 2)], {"equation": "nij,jk->nik"})
    yield Case("Einsum", [(N, 3, 4), (N, 4, 2)], {"equation": "bij,bjk->bik"})
    yield Case(
        "Einsum", [(N, 3, 4), (N, 2, 4)], {"equation": "bqd,bkd->bqk"}, note="attention scores"
    )
    yield Case("Einsum", [(N, 3, 4)], {"equation": "bij->bji"})
    yield Case("Einsum", [(N, 3, 4)], {"equation": "bij->b"}, note="summed out")
    yield Case("Einsum", [(N, 3, 4), normal(4)], {"equation": "b i j , j -> b i"}, note="spaces")
    yield Case("Einsum", [(N, 3, 4), normal(4, 5)], {"equation": "...j,jk->...k"}, note="dots")
    yield Case(
        "Einsum",
        [(N, 2, 3, 4), (N, 2, 4, 2)],
        {"equation": "...ij,...jk->...ik"},
        note="dots, both",
    )
    yield Case("Einsum", [(N, 3), normal(3, 4)], {"equation": "bi,ij"}, note="implicit")
    yield Case(
        "Einsum",
        [(N, 3), (N, 4), normal(3, 4, 2)],
        {"equation": "bi,bj,ijk->bk"},
        note="3 operands",
        special=(0.0, 1.0),
    )
    yield Case("Einsum", [normal(5, 3), (N, 3)], {"equation": "oi,bi->bo"}, note="constant first")
    yield Case("Einsum", [(N, 3, 3, 2)], {"equation": "biij->bji"}, note="diagonal")
    yield Case("Einsum", [(N, 3, 3)], {"equation": "...ii->..."}, note="trace")
    yield Case("Einsum", [(N, 2, 2, 2), (N, 2)], {"equation": "biii,bi->bi"}, note="twice, moved")
    yield Case("Einsum", [(N, 3), normal(3, 3)], {"equation": "bi,ii->b"}, note="constant diagonal")
    yield Case("Einsum", [(N, 3), normal(1, 2)], {"equation": "bi,ij->bj"}, note="size 1, summed")
    yield Case("Einsum", [(N, 3), (N, 1)], {"equation": "bi,bi->bi"}, note="size 1, kept")
    stretched = [(N, 2, 3, 4), (N, 1, 4, 2)]
    yield Case("Einsum", stretched, {"equation": "...ij,...jk->...ik"}, note="dots of size 1")
    yield Case("Gemm", [(N, 3), normal(3, 4), normal(4)], note="plain")
    yield Case("Gemm", [(N, 3), normal(4, 3), normal(4)], {"transB": 1, "alpha": 0.5, "beta": 2.0})
    yield Case("Gemm", [(N, 3), normal(3, 4)], {"transA": 1}, note="transA", batch=1)
    yield Case(
        "Gemm",
        [(N, 3), normal(4, 3)],
        {"transA": 1, "transB": 1, "alpha": 1.5},
        note="transA transB",
        batch=1,
    )
    yield Case("Gemm", [normal(4, 3), (N, 3)], {"transB": 1, "alpha": 0.5}, note="B varies, transB")
    yield Case("Gemm", [normal(4, 3), (N, 3)], {"alpha": 0.5}, note="B varies", batch=1)
    yield Case(
        "Gemm", [normal(3, 4), (N, 3)], {"transA": 1, "transB": 1}, note="B varies, transA transB"
    )
    yield Case("Gemm", [normal(3, 4), (N, 3)], {"transA": 1}, note="B varies, transA", batch=1)
    yield Case("Gemm", [(N, 3), normal(3, 4), (N, 4)], {"beta": 0.5}, note="C varies")
    yield Case("Gemm", [(N, 3), normal(3, 4), (N, 1)], note="C varies, broadcast")
    yield Case("Gemm", [(N, 2, 3), (N, 3, 4), (N, 4)], {"alpha": 0.5}, note="all vary", alone=True)
    yield Case("MatMul", [(N, 3), normal(3, 4)], note="matrix, constant")
    yield Case("MatMul", [(N, 2, 3), normal(3, 4)], note="3-D, constant")
    yield Case("MatMul", [(N, 2, 2, 3), normal(3, 4)], note="4-D, constant")
    yield Case("MatMul", [(N, 2, 2, 3), normal(2, 3, 4)], note="4-D, constant 3-D")
    yield Case("MatMul", [(N, 2, 3), normal(1, 3, 4)], note="constant 1 batch")
    yield Case("MatMul", [(N, 1, 2, 3), normal(4, 3, 2)], note="constant stretches")
    yield Case("MatMul", [(N, 2, 3), normal(3)], note="constant vector")
    yield Case("MatMul", [(N, 3), normal(3)], note="constant vector, row")
    yield Case("MatMul", [normal(4, 3), (N, 3, 2)], note="constant first")
    yield Case("MatMul", [normal(3), (N, 3, 2)], note="constant vector first")
    yield Case(
        "MatMul", [normal(5, 1, 2, 4, 3), (N, 1, 3, 2)], note="constant first of higher rank"
    )
    yield Case("MatMul", [(N, 2, 3), (N, 3, 4)], note="both")
    yield Case("MatMul", [(N, 2, 2, 3), (N, 2, 3, 2)], note="both 4-D")
    yield Case("MatMul", [(N, 1, 2, 3), (N, 4, 3, 2)], note="both, left stretched")
    yield Case("MatMul", [(N, 4, 2, 3), (N, 1, 3, 2)], note="both, right stretched")
    yield Case("MatMul", [(N, 2, 2, 3), (N, 2, 3, 2)], note="both", batch=1)
    yield Case("MatMul", [normal(4, 3), (N, 3)], note="batch is the last axis", batch=1)
