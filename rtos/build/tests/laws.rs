//! Laws as an application's build script meets them: a fit one runs and gives the host's bits, and each
//! kind of unfit one is refused with what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use darma_build::{BuildError, Law, build_law};

/// A crate with this source, in a folder of its own.
fn law_crate(name: &str, source: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(folder.join("src")).expect("a folder");
    let darma_law = Path::new(env!("CARGO_MANIFEST_DIR")).join("../law");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nedition = \"2024\"\n[workspace]\n[dependencies]\ndarma-law = {{ path = {darma_law:?} }}\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).expect("a file");
    fs::write(folder.join("src/lib.rs"), source).expect("a file");
    folder
}

fn build(name: &str, source: &str) -> Result<Law, BuildError> {
    let folder = law_crate(name, source);
    build_law(&folder, &folder.join("scratch"))
}

/// The message with which a law is refused.
fn refused(name: &str, source: &str) -> String {
    build(name, source)
        .expect_err("unfit for the image")
        .to_string()
}

/// A law that smooths, and a panic that tells a float.
const FIT: &str = r#"
    #![no_std]
    darma_law::data! {
        /// Samples, smoothed.
        pub struct Filter { pub out: [f64; 2], pub count: u64 }
    }
    darma_law::law! {
        /// Takes a sample, returns the smoothed one.
        pub fn smooth(filter: &mut Filter, sample: f64) -> f64 {
            assert!(sample < 1e6, "sample {sample} is out of range");
            let [fast, slow] = filter.out;
            filter.out = [fast + (sample - fast) / 3.0, slow + (fast - slow) * 0.1];
            filter.count += 1;
            filter.out[1] / (1.0 + fast * fast)
        }
    }
"#;

/// What calls it as the image does: by its symbol, with bits for floats.
const CALLER: &str = r#"
    #[repr(C)] struct Filter { out: [f64; 2], count: u64 }
    unsafe extern "C" {
        #[link_name = "fit::smooth"] fn smooth(filter: *mut Filter, sample: u64) -> u64;
    }
    #[unsafe(no_mangle)] extern "C" fn darma_task_panic(text: *const u8, length: usize) -> ! {
        // SAFETY: `law!` hands over its panic's words, alive until the process ends.
        let text = unsafe { std::slice::from_raw_parts(text, length) };
        println!("{}", String::from_utf8_lossy(text));
        std::process::exit(7)
    }
    fn main() {
        let mut filter = Filter { out: [0.0; 2], count: 0 };
        for step in 0..1000 {
            let sample = f64::from(step % 17) * 0.7 - 4.0;
            // SAFETY: the signature is that of the law `smooth` above, f64 as bits.
            let out = unsafe { smooth(&mut filter, sample.to_bits()) };
            println!("{out:016x}");
        }
        assert_eq!(filter.count, 1000);
        // SAFETY: as above; this one panics.
        unsafe { smooth(&mut filter, 2e6_f64.to_bits()) };
    }
"#;

#[test]
fn a_fit_law_gives_the_hosts_bits_and_its_panic_comes_out() {
    let law = build("fit", FIT).expect("fit");
    assert!(law.sources.iter().any(|file| file.ends_with("src/lib.rs")));
    let folder = law.object.parent().expect("a folder");
    fs::write(folder.join("caller.rs"), CALLER).expect("a file");
    let compiled = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "-Crelocation-model=static", "caller.rs"])
        .arg(format!("-Clink-arg={}", law.object.display()))
        .current_dir(folder)
        .status()
        .expect("a compiler");
    assert!(compiled.success());
    let output = Command::new(folder.join("caller"))
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(7), "ended by the panic");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut lines = text.lines();

    let mut out = [0.0_f64; 2];
    for step in 0..1000 {
        let sample = f64::from(step % 17) * 0.7 - 4.0;
        let [fast, slow] = out;
        out = [fast + (sample - fast) / 3.0, slow + (fast - slow) * 0.1];
        let expected = out[1] / (1.0 + fast * fast);
        let bits = format!("{:016x}", expected.to_bits());
        assert_eq!(lines.next(), Some(bits.as_str()), "step {step}");
    }
    let words = lines.next().expect("the panic's words");
    assert!(
        words.starts_with("sample 2000000 is out of range at src/lib.rs:"),
        "{words}"
    );
}

#[test]
fn an_operation_that_needs_a_library_is_refused_with_its_substitute() {
    let words = refused(
        "remainder",
        "#![no_std] darma_law::law! { pub fn rest(a: f64, b: f64) -> f64 { a % b } }",
    );
    assert!(
        words.contains("it needs fmod") && words.contains("libm::fmod"),
        "{words}"
    );
}

#[test]
fn instructions_whose_state_is_not_switched_are_refused_by_name() {
    for (name, assembly, shown) in [
        ("x87", "fldpi", "fldpi"),
        ("mmx", "emms", "emms"),
        ("mmx_register", "movd mm3, eax", "mm3"),
        ("masked", "cli", "cli"),
        ("control", "mov rax, cr4", "cr4"),
        ("popcnt", "popcnt rax, rax", "popcnt"),
        // What the decoder calls it depends on how it was built.
        ("avx", "vaddpd ymm0, ymm1, ymm2", "outside SSE2"),
    ] {
        let source = format!(
            "#![no_std] darma_law::law! {{ pub fn wrong() {{ unsafe {{ core::arch::asm!(\"{assembly}\") }} }} }}"
        );
        let words = refused(name, &source);
        assert!(
            words.contains(shown) && words.contains("outside SSE2"),
            "{name}: {words}"
        );
    }
}

#[test]
fn a_crate_without_laws_or_with_names_of_its_own_is_refused() {
    let words = refused("without", "#![no_std] pub fn plain(a: f64) -> f64 { a }");
    assert!(
        words.contains("declare one with darma_law::law!"),
        "{words}"
    );
    let words = refused(
        "unused",
        "#![no_std] extern crate darma_law; pub fn plain(a: f64) -> f64 { a }",
    );
    assert!(
        words.contains("declare one with darma_law::law!"),
        "{words}"
    );
    let words = refused(
        "named",
        "#![no_std] darma_law::law! { pub fn one() {} } #[unsafe(no_mangle)] extern \"C\" fn __muldf3() {}",
    );
    assert!(
        words.contains("defines the global name __muldf3"),
        "{words}"
    );
}

#[test]
fn what_does_not_compile_or_is_not_there_is_said_so() {
    let words = refused(
        "broken",
        "#![no_std] darma_law::law! { pub fn one() -> f64 { nothing } }",
    );
    assert!(
        words.contains("does not compile") && words.contains("nothing"),
        "{words}"
    );
    let words = refused(
        "reference",
        "#![no_std] pub struct Mine(f64); darma_law::law! { pub fn one(mine: &mut Mine) { mine.0 = 1.0; } }",
    );
    assert!(
        words.contains("declare it with darma_law::data!"),
        "{words}"
    );
    let nowhere = build_law(Path::new("no/such/folder"), Path::new("scratch"));
    assert!(
        nowhere
            .expect_err("nothing")
            .to_string()
            .contains("no/such/folder")
    );
}

#[test]
fn bytes_that_are_no_object_file_are_refused() {
    for bytes in [&[][..], b"\x7fELF", &[0; 200]] {
        assert!(!darma_build::judge(bytes).is_empty());
    }
}
