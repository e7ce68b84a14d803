"""Names of kernels as public traces have them, and what they tell of tensor cores."""

from __future__ import annotations

import pytest

from gnet_core.profile import tensor_cores

USED = [
    "sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize128x128x16_stage4_warpsize2x2x1_g1_tensor16x8x8_kernel",
    "sm80_xmma_dgrad_implicit_gemm_indexed_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x64x32_g1_tensor16x8x16_kernel",
    "sm80_xmma_wgrad_implicit_gemm_indexed_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize64x64x64_stage4_g8_tensor16x8x16_kernel",
    "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas",
    "sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize128x128x32_stage3_warpsize2x2x1_tensor16x8x8_execute_kernel__5x_cublas",
    "void cutlass_cudnn::Kernel<cutlass_tensorop_f16_s16816dgrad_optimized_f16_128x256_32x3_unity_stride>(Params)",
    "void cutlass__5x_cudnn::Kernel<cutlass_tensorop_s1688fprop_optimized_tf32_64x64_16x10_nhwc_align4>(Params)",
    "void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_256x128_16x3_nn_align4>(Params)",
    "void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_16x16_128x2_tn_align8>(Params)",
    "cutlass3x_sm90_tensorop_s64x128x16gemm_bf16_bf16_f32_bf16_bf16_128x128x64_warpspecialized",
    "_ZN13cutlass_cudnn6KernelINS_4conv6kernel23ImplicitGemmConvolutionI11MmaTensorOpINS7_ILi64ELi64ELi32EEE",
    "void xmma_cudnn::gemm::kernel<xmma_cudnn::implicit_gemm::Kernel_traits<xmma_cudnn::Ampere_hmma_fp32_traits",
    "void xmma_new::gemm::kernel<xmma_new::implicit_gemm::Kernel_traits<xmma_new::Ampere_hmma_tf32_traits<unsigned",
    "ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_64x4_tn",
    "ampere_fp16_s16816gemm_fp16_64x64_ldg8_f2f_stages_64x5_nn",
    "ampere_h16816gemm_128x128_ldg8_stages_32x5_nn",
    "turing_fp16_s1688cudnn_fp16_128x128_ldg8_relu_f2f_exp_small_nhwc_tn_v1",
    "turing_h1688gemm_128x128_ldg8_nn",
    "volta_h884gemm_64x64_ldg8_nn",
    "volta_fp16_s884cudnn_fp16_256x64_ldg8_relu_f2f_exp_small_nhwc_tn_v1",
    "sm90_xmma_dgrad_implicit_gemm_f32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize128x64x32_warpgroupsize1x1x1_g1_execute_segment_k_on_kernel__5x_cudnn",
    "sm75_xmma_fprop_implicit_gemm_indexed_wo_smem_f16f16_f16f16_f16_nhwckrsc_nhwc_tilesize128x32x64_stage1_warpsize4x1x1_g1_tensor16x8x8",
    "sm100_xmma_fprop_implicit_gemm_f16f16_f16f32_nhwc",
    "cutlass_sm80_tensorop_f16_s16x8x16dgrad_optimized_f16",
    "cutlass3x_sm100_tensorop_s128x128x8tf32gemm_f32_f32_f32",
    "cutlass3x_sm100_bstensorop_s256x128x64gemm_block_scaled_ue4m3xf4_ue4m3",
    "nvjet_tst_192x192_64x4_1x2_h_bz_coopB_TNT",
    "nvjet_sm100_tst_128x256_64x6_2x1_2cta_v_bz_TNT",
    "nvjet_sm90_hss_128x256_64x4_2x1_v_bz_coopA_NNT",
    "nvjet_sss_tf32_128x256_TNT",
    "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1_kernel0_0",
    "cudnn_generated_fort_native_sdpa_sm80_flash_fprop_wmma_f16_knob_6_128x64x64_4x1x1_kernel0_0",
]
NOT_USED = [
    "ampere_sgemm_32x32_sliced1x4_tn",
    "ampere_sgemm_128x128_nt",
    "ampere_cgemm_32x32_tn",
    "volta_gcgemm_32x32_nt",
    "volta_hgemm_256x128_nt",
    "sgemm_32x32x32_NT_vec",
    "void implicit_convolve_sgemm<float, float, 128, 5, 5, 3, 3, 3, 1, false, true, true>(int, int, int, float const*)",
    "void precomputed_convolve_sgemm<float, 512, 6, 8, 3, 3, 5, 1, false>(int)",
    "sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize256x64x8_stage3_warpsize2x2x1_ffma_aligna4_alignc4_execute_kernel__5x_cublas",
    "void cutlass::Kernel2<cutlass_80_simt_sgemm_128x128_8x4_nt_align1>(Params)",
    "cutlass3x_sm100_simt_sgemm_f32_f32_f32_f32_f32_64x32x16_1x1x1_3_tnn_align1_bias_f32_relu",
    "ampere_scudnn_128x32_stridedB_splitK_xregs_large_nn_v1",
    "ampere_scudnn_winograd_128x128_ldg1_ldg4_relu_tile244t_nt_v1",
    "void cudnn::cnn::wgrad_alg0_engine<float, 128, 6, 7, 3, 3, 5, false, 512>(int, int, int, float const*)",
    "void cudnn::cnn::wgrad_alg1_engine<float, float, 128, 6, 7, 3, 3, 5, false, false>(int, int, int, float const*)",
    "void cudnn::winograd::generateWinogradTilesKernel<0, float, float>(Params)",
    "void cask_cudnn::computeBOffsetsKernel(cask_cudnn::ComputeBOffsetsParams)",
    "void cudnn::batchnorm_bwtr_nhwc_semiPersist<__half, ",
    "void cudnn::detail::dgrad_engine<float, 128, 6, 7, 3, 3, 5, false>(int, int, int, float const*)",
    "void cudnn::cnn::conv2d_grouped_direct_kernel<float, float, float, float, float, float, true>(int)",
    "void cudnn::winograd_nonfused::winogradWgradOutput4x4<float, float>(Params)",
    "void DSE::vector_fft<0, 1, 256, 16, 16, 1, float, float, float2>(float2*)",
    "void cudnn::bn_fw_tr_1C11_kernel_NCHW<__half, float, 512, true, 1>(cudnnTensorStruct)",
    "void cudnn::ops::pooling_bw_kernel_max<__half, float, cudnn::maxpooling_func<float>, false>(cudnnTensorStruct)",
    "void cudnn::engines_precompiled::nchwToNhwcKernel<float, float, float, false, true>(Params)",
    "void cublasLt::splitKreduce_kernel<32, 16, int, float, float>(Params)",
    "void cutlass_cudnn::Kernel<cutlass_cudnn::reduction::kernel::ReduceSplitK<cutlass_cudnn::MatrixShape<4, 256>>>",
    "void transpose_readWrite_alignment_kernel<float2, float2, 1, false, 6, 4, 4>(Params)",
    "void cudnn::detail::pooling_fw_4d_kernel<float, float, cudnn::detail::maxpooling_func<float>, 0, false>(int)",
    "void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 4, 4, false>(Params)",
    "void tensorflow::functor::ApplyAdamKernel<float>(int, float*, float*, float*)",
    "void Eigen::internal::EigenMetaKernel<Eigen::TensorEvaluator<Eigen::TensorAssignOp<Eigen::half>>>(int)",
    "Mul_GPU_DT_FLOAT_DT_FLOAT_kernel",
    "redzone_checker",
    "loop_add_subtract_fusion_12",
    "input_reduce_fusion",
    "wrapped_convert",
    "Memset",
]
UNKNOWN = [
    "gemm_fusion_dot_12",
    "gemm_fusion_dot_general_3",
    "fusion_7",
    "triton_gemm_dot",
    "cudnn_generated_fort_native_sm80_convFwd_pointwise_pointwise_kernel0_0",
    "void conv2d_c1_k1_nhwc_kernel_specialized<__half, __half, __half, float, float, 5, 1, 8, 3, true>(float)",
    "void convolve_common_engine_float_NHWC<__half, __half, 128, 5, 5, 3, 3, 3, true, false, false, false, false>(int)",
    "fmha_cutlassF_bf16_aligned_64x64_rf_sm80(Params)",
    "Cijk_Ailk_Bljk_BBS_BH_MT256x128x64_MI16x16x16x1_SN_1LDSB0.kd",  # AMD's; its matrix cores are others
    "sm80_xmma_gemm_f32f32_f32_nn_n",  # cut off before it tells
    "summary_kernel",
    "",
]


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        *((name, "used") for name in USED),
        *((name, "not used") for name in NOT_USED),
        *((name, "unknown") for name in UNKNOWN),
    ],
)
def test_what_a_name_tells_of_tensor_cores(kernel, expected):
    assert tensor_cores.use(kernel) == expected


def test_time_is_shared_out_by_what_the_names_tell():
    expected = tensor_cores.shares([("used", 1.0), ("unknown", 0.5), ("used", 2.0), ("not used", 0.5)])
    assert expected == pytest.approx({"used": 0.75, "not used": 0.125, "unknown": 0.125})


def test_no_time_has_no_shares():
    assert tensor_cores.shares([]) is None
    assert tensor_cores.shares([("used", 0.0)]) is None
