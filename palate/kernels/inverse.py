"""The inverse of a large symmetric positive definite matrix in its own place, by BLAS alone."""

import numpy as np
from scipy.linalg.blas import ssyrk, strmm
from scipy.linalg.lapack import slauum, spotrf, strtri

from palate.arrays import Floats

WIDE = 256  # columns swept at once: enough for the products to run at full speed, few beside the matrix


def sweep(A: Floats, width: int = WIDE) -> bool:
    """Turn A (I, I) into -A⁻¹ in place; False where it is not positive definite in float32.

    The upper triangle is never read, and what is in it afterwards means nothing. Blocks K of columns are swept in
    turn (Goodnight 1979, "A tutorial on the SWEEP operator"): with D = A_KK, all others A_ij lose A_iK D⁻¹ A_Kj,
    A_iK becomes A_iK D⁻¹ and A_KK -D⁻¹. I³ multiplications and additions, as in LAPACK's potrf and potri, but
    OpenBLAS 0.3.30 crashes in potrf from about 40,000 columns on. It multiplies by a triangle more than twice as
    fast as it solves, so that R⁻¹ of D = RᵀR is made first. BLAS counts columns first: A.T is its order, without a
    copy.
    """
    I = len(A)
    panel = np.empty((min(width, I), I), np.float32)
    for low in range(0, I, width):
        K = slice(low, min(low + width, I))
        part = panel[: K.stop - low]
        factor, failed = spotrf(A[K, K].copy().T, lower=0, clean=0, overwrite_a=1)
        if failed:
            return False
        root, _ = strtri(factor, lower=0, overwrite_c=1)
        part[:, :low], part[:, K], part[:, K.stop :] = A[K, :low], 0, A[K.stop :, K].T
        half = strmm(1.0, root, part.T, side=1, lower=0, overwrite_b=1)  # A_iK R⁻¹
        ssyrk(-1.0, half, beta=1.0, c=A.T, lower=0, overwrite_c=1)
        strmm(1.0, root, half, side=1, lower=0, trans_a=1, overwrite_b=1)
        A[K, :low], A[K.stop :, K] = part[:, :low], part[:, K.stop :].T
        inverse, _ = slauum(root, lower=0, overwrite_c=1)  # R⁻¹ R⁻ᵀ
        A[K, K] = -inverse.T
    return True
