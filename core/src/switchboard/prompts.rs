//! What the rendering of prompts means for calls, `/readyz` and the log. No call waits for it: until a prompt is rendered
//! its text is spoken by Twilio.

use super::{Output, Switchboard, log};
use crate::log::{Event, Level, LogLine};
use crate::prompts::RenderReport;

impl Switchboard {
    pub(super) fn prompt(&mut self, report: RenderReport, out: &mut Vec<Output>) {
        let line = match report {
            RenderReport::Rendered { role, file, audio } => {
                self.tts.used(true, self.now.mono);
                let mut line = LogLine::new(Level::Info, Event::PromptRendered).detail(role.name());
                line.bytes = Some(audio.bytes.len() as u64);
                self.settings.prompts.rendered(role, file, audio);
                line
            }
            RenderReport::Failed(failure) => {
                self.tts.used(false, self.now.mono);
                let level = if failure.is_lasting { Level::Error } else { Level::Warn };
                LogLine::new(level, Event::PromptFailed).cause(failure.cause).detail(failure.role.name())
            }
            RenderReport::NotKept { file, cause } => {
                LogLine::new(Level::Warn, Event::PromptNotKept).cause(cause).detail(file)
            }
        };
        log(line, out);
    }
}

#[cfg(test)]
mod tests;
