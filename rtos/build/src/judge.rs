//! Whether a law's object file may be linked into the image and run in a task.
//!
//! Two things decide. The task's activation puts aside what FXSAVE keeps, and sets only MXCSR: so the
//! machine code is held to general registers, XMM registers and the instruction sets of the
//! architecture's baseline. And the image is linked once, at fixed addresses, from code with another calling
//! convention for floats: so the law refers to nothing outside but a few functions that pass
//! integers only, and has no use for a dynamic loader.

use std::fmt;

use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderOptions, EncodingKind, FastFormatter, Instruction,
    InstructionInfoFactory, Register,
};
use object::elf;
use object::{Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SectionKind};

/// What the image offers: copying and comparing memory, and the end of a panic. All of them take
/// and return integers and pointers.
const OFFERED: [&str; 6] = [
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "bcmp",
    "darma_task_panic",
];

/// The instruction sets of every AMD64 processor that touch no other register file.
const BASELINE: [CpuidFeature; 13] = [
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::X64,
    CpuidFeature::CMOV,
    CpuidFeature::CX8,
    CpuidFeature::MULTIBYTENOP,
    CpuidFeature::SSE,
    CpuidFeature::SSE2,
    CpuidFeature::PAUSE,
    CpuidFeature::CET_IBT,
];

/// Why an object file must not be linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is not an object file of this architecture.
    NotAnObject(String),
    /// It needs a function that the image does not have, or has with another calling convention.
    Needs(String),
    /// It has a global name that is not a law's, which might stand in for one of the image's.
    Defines(String),
    /// An instruction outside the baseline.
    Instruction {
        /// The function.
        function: String,
        /// The instruction.
        text: String,
    },
    /// A relocation for a dynamic loader.
    Relocation {
        /// The section.
        section: String,
        /// The relocation's type in the ELF specification for this architecture.
        kind: u32,
    },
    /// A section for a loader or for start-up code that nobody runs.
    Section(String),
    /// It holds no law at all.
    Empty,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject(error) => {
                write!(f, "the compiler's output is no object file: {error}")
            }
            Self::Needs(name) => match remedy(name) {
                Some(remedy) => write!(f, "it needs {name}: {remedy}"),
                None => write!(
                    f,
                    "it needs {name}, which the image does not offer to laws: leave out what calls it"
                ),
            },
            Self::Defines(name) => write!(
                f,
                "it defines the global name {name}: drop its no_mangle, darma_law::law! names the laws"
            ),
            Self::Instruction { function, text } => write!(
                f,
                "{function} has `{text}`, outside SSE2: tasks switch no x87, MMX or AVX state; take out \
                 target features, processor options and inline assembly"
            ),
            Self::Relocation { section, kind } => write!(
                f,
                "section {section} has a relocation of type {kind}, for a dynamic loader: thread-local \
                 variables and position-independent assembly cannot be used"
            ),
            Self::Section(name) => {
                write!(
                    f,
                    "section {name} is for start-up code or a loader, of which there is none"
                )
            }
            Self::Empty => write!(f, "it has no law: declare one with darma_law::law!"),
        }
    }
}

/// What to write instead of an operation for which the compiler calls a library.
fn remedy(name: &str) -> Option<&'static str> {
    Some(match name {
        "fmod" | "fmodf" => "`%` on floats is a library call; write libm::fmod",
        "fma" | "fmaf" => "`mul_add` needs FMA instructions; write libm::fma, or a * b + c",
        "sin" | "cos" | "tan" | "exp" | "exp2" | "log" | "log2" | "log10" | "pow" | "floor"
        | "ceil" | "trunc" | "round" | "rint" | "sqrt" | "sinf" | "cosf" | "expf" | "powf" => {
            "take the function of that name from the crate libm"
        }
        "rust_eh_personality" => "the compiler's core has unwind tables; build with panic = abort",
        _ => return None,
    })
}

/// Everything that speaks against linking `bytes`; each kind of instruction of a function is named once.
#[must_use]
pub fn judge(bytes: &[u8]) -> Vec<Finding> {
    let file = match object::File::parse(bytes) {
        Ok(file) if file.architecture() == object::Architecture::X86_64 => file,
        Ok(file) => {
            return vec![Finding::NotAnObject(format!(
                "it is for {:?}",
                file.architecture()
            ))];
        }
        Err(error) => return vec![Finding::NotAnObject(error.to_string())],
    };
    let mut findings = Vec::new();
    names(&file, &mut findings);
    for section in file.sections() {
        let name = section.name().unwrap_or("?").to_owned();
        if ends_up_nowhere(&name) {
            continue;
        }
        if [
            ".init_array",
            ".fini_array",
            ".ctors",
            ".dtors",
            ".tdata",
            ".tbss",
        ]
        .iter()
        .any(|start| name.starts_with(start))
        {
            findings.push(Finding::Section(name.clone()));
        }
        for (_, relocation) in section.relocations() {
            if let RelocationFlags::Elf { r_type } = relocation.flags()
                && !is_static(r_type)
            {
                findings.push(Finding::Relocation {
                    section: name.clone(),
                    kind: r_type,
                });
            }
        }
        if section.kind() == SectionKind::Text {
            code(&name, section.data().unwrap_or_default(), &mut findings);
        }
    }
    findings.dedup();
    findings
}

/// Debugging information and unwind tables are for tools on the host, or discarded by the image's script.
fn ends_up_nowhere(section: &str) -> bool {
    [".debug", ".eh_frame", ".note", ".comment", ".rela"]
        .iter()
        .any(|start| section.starts_with(start))
}

fn names(file: &object::File<'_>, findings: &mut Vec<Finding>) {
    let mut laws = 0;
    // Unwind tables name a function that nobody calls; the image discards them.
    let needed = |name: &str| {
        file.sections()
            .filter(|section| !section.name().is_ok_and(ends_up_nowhere))
            .flat_map(|section| {
                section
                    .relocations()
                    .map(|(_, relocation)| relocation.target())
            })
            .any(|target| match target {
                RelocationTarget::Symbol(index) => file
                    .symbol_by_index(index)
                    .is_ok_and(|symbol| symbol.name() == Ok(name)),
                _ => false,
            })
    };
    for symbol in file.symbols() {
        let name = symbol.name().unwrap_or("?");
        if name.is_empty() {
            continue;
        }
        if symbol.is_undefined() {
            if !OFFERED.contains(&name) && needed(name) {
                findings.push(Finding::Needs(name.to_owned()));
            }
        } else if symbol.is_global() {
            // As `law!` names them: path of the module, colons, name.
            if name.contains("::") {
                laws += 1;
            } else {
                findings.push(Finding::Defines(name.to_owned()));
            }
        }
    }
    if laws == 0 {
        findings.push(Finding::Empty);
    }
}

/// Relocations that a static link at a fixed address resolves for good. A global offset table
/// entry of an offered function is one of them: it is filled by the linker.
fn is_static(kind: u32) -> bool {
    [
        elf::R_X86_64_64,
        elf::R_X86_64_32,
        elf::R_X86_64_32S,
        elf::R_X86_64_PC32,
        elf::R_X86_64_PC64,
        elf::R_X86_64_PLT32,
        elf::R_X86_64_GOTPCREL,
        elf::R_X86_64_GOTPCRELX,
        elf::R_X86_64_REX_GOTPCRELX,
    ]
    .contains(&kind)
}

/// Judges the machine code of one section, which is one function.
fn code(function: &str, bytes: &[u8], findings: &mut Vec<Finding>) {
    let mut information = InstructionInfoFactory::new();
    let mut named = Vec::new();
    for instruction in Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).iter() {
        if is_fit(&instruction, &mut information) || named.contains(&instruction.code()) {
            continue;
        }
        named.push(instruction.code());
        let mut text = String::new();
        FastFormatter::new().format(&instruction, &mut text);
        findings.push(Finding::Instruction {
            function: function.trim_start_matches(".text.").to_owned(),
            text,
        });
    }
}

fn is_fit(instruction: &Instruction, information: &mut InstructionInfoFactory) -> bool {
    instruction.code() != Code::INVALID
        && instruction.encoding() == EncodingKind::Legacy
        && instruction
            .cpuid_features()
            .iter()
            .all(|feature| BASELINE.contains(feature))
        && !instruction.is_privileged()
        && information
            .info(instruction)
            .used_registers()
            .iter()
            .all(|used| !of_another_file(used.register()))
}

/// Registers that a task does not switch or must not touch.
fn of_another_file(register: Register) -> bool {
    register.is_mm()
        || register.is_st()
        || register.is_ymm()
        || register.is_zmm()
        || register.is_cr()
        || register.is_dr()
}
