//! Fast maths on the CPU and the compute pool: the only SIMD in the workspace.
