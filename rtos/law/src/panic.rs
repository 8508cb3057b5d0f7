//! A panic inside a law: the image is told, and stops the task.
//!
//! The message is formatted here, because it may hold floating-point numbers.

use core::fmt::{self, Write};
use core::panic::PanicInfo;

unsafe extern "C" {
    /// Ends the running task's activation as a panic of its own. The image defines it.
    fn darma_task_panic(text: *const u8, length: usize) -> !;
}

/// A message, cut to the room.
struct Words {
    text: [u8; 112],
    length: usize,
}

impl Write for Words {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.text.get_mut(self.length).ok_or(fmt::Error)? = byte;
            self.length += 1;
        }
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut words = Words {
        text: [0; 112],
        length: 0,
    };
    // What does not fit is cut.
    let _ = match info.location() {
        Some(at) => write!(words, "{} at {}:{}", info.message(), at.file(), at.line()),
        None => write!(words, "{}", info.message()),
    };
    // SAFETY: FLOAT-STATE: the text is readable for its length, and the task that called the law is
    // the one that runs.
    unsafe { darma_task_panic(words.text.as_ptr(), words.length) }
}
