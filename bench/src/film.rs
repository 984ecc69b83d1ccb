//! Pictures and sound that fill a whole constant rate, encoded by ffmpeg: for programs that take a stream apart, which would
//! drop the stuffing of the test card and be measured at a fraction of the rate.

use std::path::Path;
use std::sync::Arc;

use lab::Command;

/// Long enough that nothing notices the loop.
const SECONDS: u32 = 10;
/// Share of the rate that is video, in percent; sound, tables and headers take less than the rest.
const VIDEO_PERCENT: u64 = 84;

/// A film of `rate_bps`, encoded into `folder` (some seconds of work) unless it is there. `None` where ffmpeg is missing or
/// cannot encode H.264.
pub fn encoded(rate_bps: u64, folder: &Path) -> Option<Arc<[u8]>> {
    lab::skip::find("ffmpeg")?;
    let file = folder.join(format!("film-{rate_bps}.ts"));
    if !file.is_file() && !encode(rate_bps).arg(&file).output().status.success() {
        return None;
    }
    std::fs::read(&file).ok().filter(|bytes| !bytes.is_empty()).map(Arc::from)
}

fn encode(rate_bps: u64) -> Command {
    let (kbps, video) = (rate_bps / 1000, rate_bps * VIDEO_PERCENT / 100_000);
    Command::line(&format!(
        "ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=s=640x360:r=25:d={SECONDS} -f lavfi -i sine=f=440:r=48000:d={SECONDS} \
         -c:v libx264 -preset ultrafast -g 25 -sc_threshold 0 -bf 0 -pix_fmt yuv420p -b:v {video}k -maxrate {video}k \
         -bufsize {video}k -x264-params nal-hrd=cbr:force-cfr=1 -c:a aac -b:a 128k -muxrate {kbps}k -pcr_period 20 -f mpegts"
    ))
}
