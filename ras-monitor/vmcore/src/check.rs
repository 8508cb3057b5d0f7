//! Is a file such a core? Checked without the kernel's symbols: that headers, notes and segments fit the
//! file and each other, and that VMCOREINFO is the text that the kernel's own note in the memory holds.
//! It shows that a core is well formed; that the tools show a backtrace only the tools can show.

use std::io::{Read, Seek, SeekFrom};

use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::Error;
use crate::elf::{self, FileHeader, ProgramHeader};
use crate::notes;

/// Notes longer than this are none of ours.
const NOTES_MAX: u64 = 1 << 20;

/// What a sound core holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Segments of memory, those of the kernel's image included.
    pub segments: usize,
    /// Bytes of memory that they cover.
    pub memory_bytes: u64,
    /// It has the registers of the processor.
    pub has_registers: bool,
    /// It has VMCOREINFO.
    pub has_vmcoreinfo: bool,
    /// It says itself that something is missing.
    pub is_partial: bool,
}

/// Reads a core's headers and notes and holds them against its length.
///
/// # Errors
/// The file is no core as [`crate::write`] writes them; or it cannot be read.
pub fn check(file: &mut (impl Read + Seek)) -> Result<Findings, Error> {
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut header = FileHeader::new_zeroed();
    file.read_exact(header.as_mut_bytes())?;
    if !header.is_core() {
        return Err(Error::NoCore("its header is not that of an AMD64 core"));
    }
    file.seek(SeekFrom::Start(header.program_headers))?;
    let mut findings = Findings::default();
    let mut end = 0;
    for index in 0..header.program_header_count {
        let mut segment = ProgramHeader::new_zeroed();
        file.read_exact(segment.as_mut_bytes())?;
        let inside = segment.offset.checked_add(segment.file_bytes);
        if inside.is_none_or(|end| end > length) {
            return Err(Error::NoCore("a segment goes beyond the file's end"));
        }
        match (index, segment.kind) {
            (0, elf::NOTE) => {
                let next = file.stream_position()?;
                read_notes(file, &segment, &mut findings)?;
                file.seek(SeekFrom::Start(next))?;
            }
            (1.., elf::LOAD) => {
                judge(&segment)?;
                // The image's second segments come last and repeat memory that was before.
                if segment.physical_address >= end {
                    end = segment
                        .physical_address
                        .saturating_add(segment.memory_bytes);
                    findings.memory_bytes =
                        findings.memory_bytes.saturating_add(segment.memory_bytes);
                }
                findings.segments += 1;
            }
            _ => return Err(Error::NoCore("notes come first and memory follows")),
        }
    }
    if findings.segments == 0 {
        return Err(Error::NoCore("it has no memory"));
    }
    Ok(findings)
}

fn judge(segment: &ProgramHeader) -> Result<(), Error> {
    if segment.align != 0 {
        return Err(Error::NoCore("crash needs alignment 0 of every segment"));
    }
    if segment.file_bytes > segment.memory_bytes || segment.memory_bytes == 0 {
        return Err(Error::NoCore(
            "a segment is larger in the file than in memory",
        ));
    }
    Ok(())
}

fn read_notes(
    file: &mut (impl Read + Seek),
    segment: &ProgramHeader,
    findings: &mut Findings,
) -> Result<(), Error> {
    if segment.file_bytes > NOTES_MAX {
        return Err(Error::NoCore("its notes are too long"));
    }
    file.seek(SeekFrom::Start(segment.offset))?;
    let mut bytes = vec![0; usize::try_from(segment.file_bytes).unwrap_or(0)];
    file.read_exact(&mut bytes)?;
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (name, kind, contents, behind) =
            next(rest).ok_or(Error::NoCore("a note goes beyond the others' end"))?;
        match (name, kind) {
            notes::REGISTERS => findings.has_registers = true,
            notes::VMCOREINFO => {
                if !contents.starts_with(b"OSRELEASE=") {
                    return Err(Error::NoCore("VMCOREINFO does not begin with OSRELEASE="));
                }
                findings.has_vmcoreinfo = true;
            }
            notes::OURS => {
                findings.is_partial = contents
                    .split(|b| *b == b'\n')
                    .any(|line| line == b"partial=1")
            }
            _ => {}
        }
        rest = behind;
    }
    Ok(())
}

/// Name and type of a note, its contents, and what is behind it.
type Split<'n> = (&'n [u8], u32, &'n [u8], &'n [u8]);

fn next(bytes: &[u8]) -> Option<Split<'_>> {
    let (head, rest) = <[u32; 3]>::read_from_prefix(bytes).ok()?;
    let [name_bytes, bytes, kind] = head;
    let name_bytes = usize::try_from(name_bytes).ok()?;
    let bytes = usize::try_from(bytes).ok()?;
    let name = rest.get(..name_bytes)?;
    let rest = rest.get(name_bytes.checked_next_multiple_of(4)?..)?;
    let contents = rest.get(..bytes)?;
    let rest = rest.get(bytes.checked_next_multiple_of(4)?..)?;
    Some((name, kind, contents, rest))
}
