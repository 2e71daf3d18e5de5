/* Browsers start no worker from a file on the disk. The search runs in one, so for pages that are
   opened from the disk its script runs in a hidden frame instead. On a server this does nothing. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.frame.addEventListener("load", () => this.start(url), { once: true })
      document.body.append(this.frame)
    }
    start(url) {
      const inner = this.frame.contentWindow
      inner.postMessage = data =>
        this.answer(new MessageEvent("message", { data: structuredClone(data) }))
      const script = inner.document.createElement("script")
      script.src = new URL(url, document.baseURI)
      script.addEventListener("load", () => {
        this.inner = inner
        for (const data of this.waiting) this.postMessage(data)
      })
      script.addEventListener("error", event => this.onerror?.(event))
      inner.document.body.append(script)
    }
    answer(event) {
      setTimeout(() => {
        this.onmessage?.(event)
        this.dispatchEvent(event)
      })
    }
    postMessage(data) {
      if (this.inner)
        this.inner.dispatchEvent(
          new this.inner.MessageEvent("message", { data: structuredClone(data) })
        )
      else this.waiting.push(data)
    }
    terminate() {
      this.frame.remove()
    }
  }
}
