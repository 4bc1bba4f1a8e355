//! WebSocket framing for the engine: plain, or with deliveries deflated.

use std::cell::{Cell, RefCell};

use fanfare_engine::{Content, FrameKind, Framing};
use fanfare_ws::{Deflater, FrameMark, Opcode, WindowBits, begin_frame, end_frame, end_frame_deflated};

/// Deliveries smaller than this are not compressed: it would cost more than it saves.
const DEFLATE_BYTES_MIN: usize = 1024;
const DEFLATE_LEVEL: u32 = 4;

pub(crate) struct WsFraming {
    /// 0 for plain, else the window's bits.
    class: u8,
    deflater: Option<RefCell<Deflater>>,
    /// Frames are not nested, so one mark is enough.
    mark: Cell<Option<FrameMark>>,
}

impl WsFraming {
    pub(crate) fn plain() -> Self {
        Self { class: 0, deflater: None, mark: Cell::new(None) }
    }

    pub(crate) fn deflated(window: WindowBits) -> Self {
        let deflater = Deflater::new(DEFLATE_LEVEL, window, DEFLATE_BYTES_MIN);
        Self { class: window.get(), deflater: Some(RefCell::new(deflater)), mark: Cell::new(None) }
    }
}

impl Framing for WsFraming {
    fn class(&self) -> u8 {
        self.class
    }

    fn begin(&self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        self.mark.set(Some(begin_frame(out)));
        start
    }

    fn end(&self, out: &mut Vec<u8>, _mark: usize, kind: FrameKind, content: Content) {
        let Some(mark) = self.mark.take() else { return };
        let opcode = match kind {
            FrameKind::Text => Opcode::Text,
            FrameKind::Binary => Opcode::Binary,
        };
        match (&self.deflater, content) {
            (Some(deflater), Content::Delivery) => {
                end_frame_deflated(out, mark, opcode, &mut deflater.borrow_mut());
            }
            _ => end_frame(out, mark, opcode),
        }
    }
}
